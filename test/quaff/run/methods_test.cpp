// The methods that Quaff is compared with, as a user trains with them and uses the adapter.
#include "quaff/cli/verbs.h"
#include "quaff/run/memory_room.h"
#include "quaff/run/open_model.h"
#include "quaff/run/starting_point.h"
#include "quaff/run/training/plan.h"
#include "test/catch.h"
#include "test/quaff/program.h"
#include "test/quaff/workshop.h"

using namespace quaff;
using Arguments = std::vector<std::string>;

namespace {

const Arguments kTwoSteps = {"--max-steps", "2", "--save-steps", "0", "--eval-split", "0", "--batch-size", "3"};

Arguments with(Arguments arguments, const Arguments& more) {
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
}

// How an evaluation with the adapter of run `name` begins.
StartingPoint start_of_eval(const Workshop& shop, const std::string& name, const Arguments& more, Terminal& terminal) {
    const Options options = cli::parse(with({"eval", "--model", (shop.folder / "model").string(), "--data",
                                             (shop.folder / "train.jsonl").string(), "--adapter",
                                             (shop.folder / name / "adapter").string()},
                                            more))
                                .options;
    return starting_point(options, open_model(options, terminal), options.model.adapter, terminal);
}

}  // namespace

TEST_CASE("every method trains within its plan, and its adapter says how", "[trainer][methods]") {
    const Workshop shop("methods");
    Terminal quiet(nullptr, /*quiet=*/true);
    for (const auto& [name, method] : kMethodNames) {
        CAPTURE(name);
        Arguments arguments = with(kTwoSteps, {"--method", name, "--int8-threshold", "3.5", "--smooth-alpha", "0.625"});
        if (method == Method::quaff_paper) arguments = with(arguments, {"--outlier-max-ratio", "0.01"});
        const nlohmann::ordered_json run = shop.run(name, arguments);
        cpu::Device device;
        device.threads = 1;
        // A plan takes the most channels that calibration may find.
        CHECK(run["planned_memory_bytes"].get<int64_t>() <=
              plan(shop.options("plan", arguments), quiet, device)["total_bytes"].get<int64_t>());

        const nlohmann::json state = shop.quaff_json(std::string(name) + "/adapter");
        CHECK(state["method"] == name);
        CHECK(state.contains("outliers") == linear_method(method).outliers);
        CHECK(state.contains("scales") == linear_method(method).has_scales());
        CHECK(state.contains("int8_threshold") == has_threshold(method));
        CHECK(state.contains("smooth_alpha") == has_smoothing(method));
        const StartingPoint start = start_of_eval(shop, name, {}, quiet);
        CHECK(start.method == method);
        CHECK(start.calibration == Calibration::none);
        CHECK(start.int8_threshold == (has_threshold(method) ? 3.5f : 6.0f));
        CHECK(start.smooth_alpha == (has_smoothing(method) ? 0.625f : 0.5f));
    }
}

TEST_CASE("a run of every method is resumed exactly", "[trainer][methods]") {
    const Workshop shop("methods_resume");
    for (const char* name : {"llm-int8", "smooth-static", "smooth-dynamic", "qlora"}) {
        CAPTURE(name);
        const Arguments method = {"--method", name, "--batch-size", "3", "--eval-split", "0"};
        const std::string whole = concat("whole-", name), parts = concat("parts-", name);
        shop.run(whole, with(method, {"--max-steps", "4", "--save-steps", "0"}));
        shop.run(parts, with(method, {"--max-steps", "2"}));
        shop.run(parts, {"--resume", "--max-steps", "4"});
        CHECK(shop.adapter(parts) == shop.adapter(whole));
    }
}

TEST_CASE("smooth-static takes the maxima of all channels, and quaff not those", "[trainer][adapter][methods]") {
    const Workshop shop("smooth");
    shop.run("smooth", with(kTwoSteps, {"--method", "smooth-static"}));
    const nlohmann::json state = shop.quaff_json("smooth/adapter");
    CHECK(state["outliers"]["strategy"] == "top_abs");
    CHECK(state["outliers"]["max_ratio"] == 1);
    for (const auto& [module, channels] : state["outliers"]["channels"].items())
        CHECK(channels.size() == state["outliers"]["max_abs"][module].size());

    shop.run("ours", kTwoSteps);
    const std::string file = (shop.folder / "ours" / "outliers.json").string();
    CHECK_THROWS_WITH(shop.run("second", with(kTwoSteps, {"--method", "smooth-static", "--outliers", file})),
                      Catch::Matchers::ContainsSubstring(file + ": these channels were found by token_max") &&
                          Catch::Matchers::ContainsSubstring("--method smooth-static takes those of top_abs with 1"));
    // An adapter's own channels are for its own method.
    shop.run("onwards", with(kTwoSteps, {"--adapter", (shop.folder / "smooth" / "adapter").string()}));
    CHECK(shop.quaff_json("onwards/adapter")["outliers"]["strategy"] == "token_max");
}

TEST_CASE("choices that differ from the adapter's are told", "[adapter][methods]") {
    const Workshop shop("choices");
    shop.run("llm", with(kTwoSteps, {"--method", "llm-int8", "--int8-threshold", "3.5"}));
    const auto warnings = [&](const Arguments& more) {
        {
            const program::Redirection err(stderr, shop.folder / "stderr.txt");
            Terminal terminal(stderr, /*quiet=*/true);
            start_of_eval(shop, "llm", more, terminal);
        }
        return small::read_text(shop.folder / "stderr.txt");
    };
    CHECK(warnings({}).empty());
    CHECK(warnings({"--int8-threshold", "3.5"}).empty());
    CHECK_THAT(warnings({"--int8-threshold", "4"}),
               Catch::Matchers::ContainsSubstring("--int8-threshold 4: the adapter " +
                                                  (shop.folder / "llm" / "adapter").string() +
                                                  " was trained with 3.5; leave --int8-threshold out"));
}
