// Ways to scale, begin and train the adapters, seen from outside: in what a run writes.
#include <cmath>

#include "quaff/files/adapter.h"
#include "quaff/run/evaluate.h"
#include "test/catch.h"
#include "test/quaff/workshop.h"

using namespace quaff;

namespace {

Adapter adapter_of(const Workshop& shop, const std::string& run) {
    return Adapter(shop.folder / run / "adapter", read_model_config(shop.folder / "model"));
}

// All A, or all B, of an adapter.
std::vector<float> values(const Adapter& adapter, bool of_b) {
    std::vector<float> all;
    for (const LoraAdapter& tensors : adapter.tensors()) {
        const Matrix<float>& matrix = of_b ? tensors.b : tensors.a;
        for (int64_t i = 0; i < matrix.rows; ++i) all.insert(all.end(), matrix.row(i), matrix.row(i) + matrix.cols);
    }
    return all;
}

}  // namespace

TEST_CASE("rsLoRA of rank 4 is LoRA with twice the alpha, and says so in its adapter", "[recipes][trainer]") {
    const Workshop shop("rslora");  // alpha / sqrt(4) = 2 alpha / 4
    shop.run("plain", {"--max-steps", "4", "--lora-alpha", "32"});
    const auto trained = shop.run("rslora", {"--max-steps", "4", "--lora-alpha", "16", "--use-rslora"});
    CHECK(values(adapter_of(shop, "plain"), true) == values(adapter_of(shop, "rslora"), true));
    CHECK(values(adapter_of(shop, "plain"), false) == values(adapter_of(shop, "rslora"), false));
    CHECK(adapter_of(shop, "rslora").config().use_rslora);
    CHECK_FALSE(adapter_of(shop, "plain").config().use_rslora);
    // A run that starts from it scales it in the same way, unasked, and refuses to do otherwise.
    const std::string adapter = (shop.folder / "rslora" / "adapter").string();
    const auto next = shop.run("next", {"--adapter", adapter, "--max-steps", "1"});
    CHECK(next["eval_before"]["loss"] == trained["eval_after"]["loss"]);
    CHECK(adapter_of(shop, "next").config().use_rslora);
    const std::string plain = (shop.folder / "plain" / "adapter").string();
    CHECK_THROWS_WITH(shop.run("none", {"--adapter", plain, "--max-steps", "1", "--lora-alpha", "32", "--use-rslora"}),
                      Catch::Matchers::ContainsSubstring("use-rslora"));
}

TEST_CASE("gaussian adapters begin with standard deviation 1 / r, and B with zero", "[recipes][trainer]") {
    const Workshop shop("gaussian");
    // B = 0 gives A no gradient: the first step leaves it as it began.
    const auto run = shop.run("run", {"--max-steps", "1", "--init-lora-weights", "gaussian"});
    const auto kaiming = shop.run("kaiming", {"--max-steps", "1"});
    CHECK(run["eval_before"]["loss"] == kaiming["eval_before"]["loss"]);
    const std::vector<float> a = values(adapter_of(shop, "run"), false);
    REQUIRE(a.size() > 1000);
    double sum = 0, squares = 0, inside = 0;
    for (const float value : a) {
        sum += value;
        squares += double{value} * value;
        inside += std::abs(value) < 0.25;
    }
    const auto n = static_cast<double>(a.size());
    // Each within four standard errors of a normal distribution's; r = 4.
    CHECK(std::abs(sum / n) < 4 * 0.25 / std::sqrt(n));
    CHECK(std::sqrt(squares / n) == Approx(0.25).margin(4 * 0.25 / std::sqrt(2 * n)));
    CHECK(inside / n == Approx(0.6827).margin(4 * std::sqrt(0.6827 * 0.3173 / n)));
}

TEST_CASE("LoRA+ moves B by a multiple of its step, and A by its own", "[recipes][trainer]") {
    const Workshop shop("loraplus");
    // Without a gradient, A only decays: by its own learning rate times the weight decay.
    const std::vector<std::string> common = {"--max-steps", "1", "--weight-decay", "0.5", "--lora-dropout", "0"};
    const auto with = [&](std::vector<std::string> more) {
        more.insert(more.end(), common.begin(), common.end());
        return more;
    };
    shop.run("plain", with({}));
    shop.run("plus", with({"--loraplus-lr-ratio", "8"}));
    CHECK(values(adapter_of(shop, "plain"), false) == values(adapter_of(shop, "plus"), false));
    const std::vector<float> one = values(adapter_of(shop, "plain"), true),
                             eight = values(adapter_of(shop, "plus"), true);
    REQUIRE(one.size() == eight.size());
    int64_t n_moved = 0;
    for (size_t i = 0; i < one.size(); ++i) {
        n_moved += one[i] != 0;
        if (eight[i] != Approx(8 * one[i]).epsilon(1e-5)) FAIL_CHECK(i << ": " << one[i] << " and " << eight[i]);
    }
    CHECK(n_moved > 100);
}

TEST_CASE("a run with every recipe leaves the same adapter when it is resumed", "[recipes][trainer]") {
    const Workshop shop("recipes_resume");
    const std::vector<std::string> options = {"--use-rslora",
                                              "--init-lora-weights",
                                              "gaussian",
                                              "--loraplus-lr-ratio",
                                              "4",
                                              "--lr-scheduler",
                                              "warmup_stable_decay",
                                              "--warmup-steps",
                                              "2",
                                              "--min-lr-ratio",
                                              "0.1",
                                              "--max-steps",
                                              "8"};
    shop.run("whole", options);
    bool stopped = false;
    shop.run("parts", options, &stopped, false, [](int64_t step, int64_t, int64_t) {
        if (step == 5) raise(SIGTERM);
    });
    REQUIRE(stopped);
    shop.run("parts", {"--resume"});
    CHECK(shop.adapter("parts") == shop.adapter("whole"));
}

TEST_CASE("a schedule refuses what it does not heed", "[recipes]") {
    const Workshop shop("schedule_refused");
    const auto refuses = [&](const std::vector<std::string>& more, const char* sentence) {
        CHECK_THROWS_WITH(shop.line("run", more), Catch::Matchers::ContainsSubstring(sentence));
    };
    refuses({"--warmup-steps", "2", "--warmup-ratio", "0.1"}, "give one of them");
    refuses({"--min-lr-ratio", "0.1", "--lr-scheduler", "cosine"}, "no least learning rate");
    refuses({"--lr-scheduler", "cosine_with_min_lr"}, "needs its --min-lr-ratio");
    refuses({"--num-decay-steps", "3"}, "only --lr-scheduler warmup_stable_decay");
    refuses({"--lr-scheduler", "polynomial", "--learning-rate", "1e-8"}, "must be above it");
    refuses({"--loraplus-lr-ratio", "0"}, "loraplus-lr-ratio");
    refuses({"--init-lora-weights", "pissa"}, "gaussian");
}
