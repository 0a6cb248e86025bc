// What a run takes from the adapter it starts from: outlier channels and settings, the same for its plan, its training
// and an evaluation.
#include "quaff/run/starting_point.h"

#include "quaff/cli/verbs.h"
#include "quaff/run/memory_room.h"
#include "quaff/run/open_model.h"
#include "quaff/run/training/plan.h"
#include "test/catch.h"
#include "test/quaff/program.h"
#include "test/quaff/workshop.h"

using namespace quaff;
using Arguments = std::vector<std::string>;

namespace {

const Arguments kOneStep = {"--max-steps", "1", "--save-steps", "0", "--eval-split", "0", "--batch-size", "3"};

Arguments with(Arguments arguments, const Arguments& more) {
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
}

// The warnings of `action` on its terminal.
template <class Action>
std::string warnings_of(const Workshop& shop, const Action& action) {
    {
        const program::Redirection err(stderr, shop.folder / "stderr.txt");
        Terminal terminal(stderr, /*quiet=*/true);
        action(terminal);
    }
    return small::read_text(shop.folder / "stderr.txt");
}

nlohmann::ordered_json plan_of(const Workshop& shop, const Arguments& arguments) {
    Terminal terminal(nullptr, /*quiet=*/true);
    cpu::Device device;
    device.threads = 1;
    const Options options = with_options_of_adapter(shop.options("plan", arguments), terminal);
    return plan(options, terminal, device);
}

}  // namespace

TEST_CASE("--plan counts the outlier channels that the run takes, wherever they come from", "[trainer][plan]") {
    const Workshop shop("plan_channels");
    const Arguments many = with(kOneStep, {"--outlier-max-ratio", "0.5", "--outlier-strategy", "top_abs"});
    shop.run("first", many);
    const std::string adapter = (shop.folder / "first" / "adapter").string(),
                      file = (shop.folder / "first" / "outliers.json").string();

    // The adapter's, four times as many as calibration may find; a file's in their place; calibration's without either:
    // top_abs keeps as many as it may.
    const Arguments starts[] = {{"--adapter", adapter},
                                {"--adapter", adapter, "--outliers", file, "--seed", "1"},
                                {"--outliers", file},
                                {"--outlier-strategy", "top_abs"},
                                {"--method", "fp", "--adapter", adapter}};
    std::vector<int64_t> totals;
    for (const Arguments& start : starts) {
        CAPTURE(start);
        const nlohmann::ordered_json plan = plan_of(shop, with(kOneStep, start));
        const nlohmann::ordered_json run = shop.run("second", with(kOneStep, start));
        CHECK(plan["total_bytes"] == run["planned_memory_bytes"]);
        totals.push_back(plan["total_bytes"]);
    }
    CHECK(totals[0] == totals[2]);
    CHECK(totals[0] > totals[3]);
    CHECK(totals[3] != totals[4]);
}

TEST_CASE("an adapter is trained on with its own scale momentum and gradient bits", "[trainer][adapter]") {
    const Workshop shop("settings");
    shop.run("first", with(kOneStep, {"--scale-momentum", "0.5", "--grad-bits", "16"}));
    const Arguments onwards = with(kOneStep, {"--adapter", (shop.folder / "first" / "adapter").string()});
    const auto settings = [&](const std::string& adapter) {
        const nlohmann::json state = shop.quaff_json(adapter);
        return std::pair(state["scale_momentum"].get<double>(), state["grad_bits"].get<int>());
    };
    REQUIRE(settings("first/adapter") == std::pair(0.5, 16));

    shop.run("untold", onwards);
    CHECK(settings("untold/adapter") == std::pair(0.5, 16));
    const std::string toml = small::read_text(shop.folder / "untold" / "config.toml");
    CHECK_THAT(toml, Catch::Matchers::ContainsSubstring("\nscale-momentum = 0.5\n"));
    CHECK_THAT(toml, Catch::Matchers::ContainsSubstring("\ngrad-bits = \"16\"\n"));

    // They are computed with, not only recorded: 16 bits in the backward pass change the first step, the momentum its
    // scales.
    shop.run("alike", with(onwards, {"--scale-momentum", "0.5", "--grad-bits", "16"}));
    shop.run("other_bits", with(onwards, {"--grad-bits", "8"}));
    shop.run("other_momentum", with(onwards, {"--scale-momentum", "0"}));
    CHECK(shop.adapter("untold") == shop.adapter("alike"));
    CHECK(settings("other_bits/adapter") == std::pair(0.5, 8));
    CHECK(settings("other_momentum/adapter") == std::pair(0.0, 16));
    const auto weights = [&](const std::string& out) {
        return small::read_text(shop.folder / out / "adapter" / "adapter_model.safetensors");
    };
    CHECK(weights("other_bits") != weights("untold"));
    CHECK(shop.quaff_json("other_momentum/adapter")["scales"] != shop.quaff_json("untold/adapter")["scales"]);

    // A resumed run keeps its own.
    Arguments longer = onwards;
    longer[1] = "2";
    longer[3] = "1";
    shop.run("parts", longer);
    shop.run("parts", {"--resume", "--max-steps", "3"});
    CHECK(settings("parts/adapter") == std::pair(0.5, 16));
    // Without quaff.json, and without an adapter, the defaults hold.
    shop.run("fresh", kOneStep);
    CHECK(settings("fresh/adapter") == std::pair(0.1, 8));
}

TEST_CASE("settings that differ from the adapter's give a warning", "[adapter]") {
    const Workshop shop("settings_warning");
    shop.run("first", with(kOneStep, {"--scale-momentum", "0.5", "--grad-bits", "16"}));
    const std::string adapter = (shop.folder / "first" / "adapter").string();
    const auto warnings = [&](const Arguments& more) {
        const Options options = shop.options("second", with({"--adapter", adapter}, more));
        return warnings_of(shop, [&](Terminal& terminal) { with_options_of_adapter(options, terminal); });
    };
    CHECK(warnings({}).empty());
    CHECK(warnings({"--scale-momentum", "0.5", "--grad-bits", "16"}).empty());
    CHECK_THAT(warnings({"--scale-momentum", "0.25"}),
               Catch::Matchers::ContainsSubstring("--scale-momentum 0.25: the adapter " + adapter +
                                                  " was trained with 0.5; leave --scale-momentum out"));
    CHECK_THAT(warnings({"--grad-bits", "8"}),
               Catch::Matchers::ContainsSubstring("--grad-bits 8: the adapter " + adapter + " was trained with 16"));
    CHECK(warnings({"--method", "fp", "--grad-bits", "8"}).empty());  // it uses neither
}

TEST_CASE("an adapter is evaluated with its own scale momentum and gradient bits", "[adapter]") {
    const Workshop shop("settings_eval");
    shop.run("first", with(kOneStep, {"--scale-momentum", "0.5", "--grad-bits", "16"}));
    const Options options =
        cli::parse({"eval", "--model", (shop.folder / "model").string(), "--data",
                    (shop.folder / "train.jsonl").string(), "--adapter", (shop.folder / "first" / "adapter").string()})
            .options;
    Terminal terminal(nullptr, /*quiet=*/true);
    const StartingPoint start = starting_point(options, open_model(options, terminal), options.model.adapter, terminal);
    const BuildOptions build = build_options(options, start, {}, /*training=*/false, int64_t{1} << 30);
    CHECK(build.method == Method::quaff);
    CHECK(build.scale_momentum == 0.5f);
    CHECK(build.grad_bits == 16);
}

TEST_CASE("an adapter is trained on and evaluated with its own rotation and outlier term", "[trainer][adapter]") {
    const Workshop shop("rotation");
    shop.run("first", with(kOneStep, {"--rotation", "off", "--outlier-term", "split"}));
    shop.run("default", kOneStep);
    const auto choices = [&](const std::string& adapter) {
        const nlohmann::json state = shop.quaff_json(adapter);
        return std::pair(state["rotation"].get<bool>(), state["outlier_term"].get<std::string>());
    };
    REQUIRE(choices("first/adapter") == std::pair(false, std::string("split")));
    CHECK(choices("default/adapter") == std::pair(true, std::string("scaled")));
    // The exponent of the scales goes with the rotation.
    CHECK(shop.quaff_json("default/adapter")["scale_strength"] == 1);
    CHECK(shop.quaff_json("first/adapter")["scale_strength"] == 0.5);

    const std::string adapter = (shop.folder / "first" / "adapter").string();
    shop.run("onwards", with(kOneStep, {"--adapter", adapter}));
    CHECK(choices("onwards/adapter") == choices("first/adapter"));
    CHECK_THAT(small::read_text(shop.folder / "onwards" / "config.toml"),
               Catch::Matchers::ContainsSubstring("\nrotation = \"off\"\n"));

    const auto start_of_eval = [&](const Arguments& more, Terminal& terminal) {
        Arguments arguments = {"eval", "--model", (shop.folder / "model").string(), "--data",
                               (shop.folder / "train.jsonl").string()};
        const Options options = cli::parse(with(arguments, more)).options;
        return starting_point(options, open_model(options, terminal), options.model.adapter, terminal);
    };
    const auto warnings = [&](const Arguments& more) {
        return warnings_of(shop, [&](Terminal& terminal) { start_of_eval(more, terminal); });
    };
    Terminal quiet(nullptr, /*quiet=*/true);
    const StartingPoint own = start_of_eval({"--adapter", adapter}, quiet);
    CHECK_FALSE(own.rotation);
    CHECK(own.outlier_term == OutlierTerm::split);
    CHECK(own.scales.empty());
    CHECK(warnings({"--adapter", adapter}).empty());
    const StartingPoint other = start_of_eval({"--adapter", adapter, "--rotation", "on"}, quiet);
    CHECK(other.rotation);
    CHECK(other.outlier_term == OutlierTerm::split);
    CHECK_THAT(warnings({"--adapter", adapter, "--rotation", "on"}),
               Catch::Matchers::ContainsSubstring("--rotation on: the adapter " + adapter +
                                                  " was trained with off; leave --rotation out"));
    CHECK_THAT(warnings({"--adapter", adapter, "--outlier-term", "scaled"}),
               Catch::Matchers::ContainsSubstring("--outlier-term scaled: the adapter " + adapter +
                                                  " was trained with split"));

    // As it was written before there was a choice.
    nlohmann::json old = shop.quaff_json("default/adapter");
    old.erase("rotation");
    old.erase("outlier_term");
    std::ofstream(shop.folder / "default" / "adapter" / "quaff.json") << old;
    const StartingPoint earlier = start_of_eval({"--adapter", (shop.folder / "default/adapter").string()}, quiet);
    CHECK_FALSE(earlier.rotation);
    CHECK(*earlier.scale_strength == 1);  // which it says
    CHECK(earlier.outlier_term == OutlierTerm::scaled);
    // No adapter decides: rotated and scaled.
    CHECK(start_of_eval({"--method", "quaff"}, quiet).rotation);
}

TEST_CASE("a run with split outlier channels is resumed exactly, and with the same choices alone", "[trainer]") {
    const Workshop shop("rotation_resume");
    const Arguments split = {"--outlier-term", "split", "--batch-size", "3", "--eval-split", "0"};
    shop.run("whole", with(split, {"--max-steps", "4", "--save-steps", "0"}));
    shop.run("parts", with(split, {"--max-steps", "2"}));
    CHECK_THROWS_WITH(shop.run("parts", {"--resume", "--max-steps", "4", "--rotation", "off"}),
                      Catch::Matchers::ContainsSubstring("--rotation was 'auto' and is now 'off'"));
    shop.run("parts", {"--resume", "--max-steps", "4"});
    CHECK(shop.adapter("parts") == shop.adapter("whole"));
}

TEST_CASE("the paper's method calibrates as the paper does, and takes no other channels", "[trainer][adapter]") {
    const Workshop shop("paper");
    const Arguments paper = with(kOneStep, {"--method", "quaff-paper", "--outlier-max-ratio", "0.01"});
    shop.run("paper", paper);
    const nlohmann::json state = shop.quaff_json("paper/adapter");
    CHECK(state["method"] == "quaff-paper");
    CHECK(state["rotation"] == false);
    CHECK(state["outliers"]["strategy"] == "mean_times");
    CHECK(state["outliers"]["threshold"] == 100);
    CHECK(state["outliers"]["max_ratio"] == 0.01);
    CHECK(state["scale_momentum"] == 0.1);

    shop.run("ours", kOneStep);
    const std::string file = (shop.folder / "ours" / "outliers.json").string();
    CHECK_THROWS_WITH(shop.run("second", with(paper, {"--outliers", file})),
                      Catch::Matchers::ContainsSubstring(file + ": these channels were found by token_max"));
    // With an adapter of another method it calibrates anew.
    {
        const program::Redirection err(stderr, shop.folder / "stderr.txt");
        shop.run("third", with(paper, {"--adapter", (shop.folder / "ours" / "adapter").string()}));
    }
    CHECK(shop.quaff_json("third/adapter")["outliers"]["strategy"] == "mean_times");
    CHECK_THAT(small::read_text(shop.folder / "stderr.txt"),
               Catch::Matchers::ContainsSubstring("was trained with quaff; --method quaff keeps that"));
}

TEST_CASE("training tells how many outlier channels were found, and that none makes it naive", "[trainer]") {
    const Workshop shop("found");
    shop.run("some", kOneStep);
    CHECK_THAT(small::read_text(shop.folder / "terminal.txt"),
               Catch::Matchers::ContainsSubstring(" outlier channels in 8 layers by token_max"));
    {
        const program::Redirection err(stderr, shop.folder / "stderr.txt");
        shop.run("none", with(kOneStep, {"--outlier-strategy", "static", "--outlier-threshold", "1e9"}));
    }
    CHECK_THAT(small::read_text(shop.folder / "terminal.txt"),
               Catch::Matchers::ContainsSubstring("found 0 outlier channels in 8 layers by static"));
    CHECK_THAT(small::read_text(shop.folder / "stderr.txt"),
               Catch::Matchers::ContainsSubstring("the layers are as with --method naive"));
}

TEST_CASE("naive int8 needs no calibration", "[trainer][adapter]") {
    const Workshop shop("naive");
    const nlohmann::ordered_json run = shop.run("naive", with(kOneStep, {"--method", "naive"}));
    CHECK(run["planned_memory_bytes"] == plan_of(shop, with(kOneStep, {"--method", "naive"}))["total_bytes"]);
    CHECK_FALSE(shop.quaff_json("naive/adapter").contains("outliers"));
    CHECK_FALSE(fs::exists(shop.folder / "naive" / "outliers.json"));
    CHECK(small::read_text(shop.folder / "terminal.txt").find("calibrating") == std::string::npos);
}

TEST_CASE("eval warns before it calibrates on the data that it evaluates", "[adapter]") {
    const Workshop shop("warn_first");
    const cli::CommandLine line =
        cli::parse({"eval", "--model", (shop.folder / "model").string(), "--data",
                    (shop.folder / "train.jsonl").string(), "--method", "quaff", "--outlier-max-ratio", "0.125"});
    const std::string both = small::read_text([&] {
        const fs::path file = shop.folder / "both.txt";
        const program::Redirection err(stderr, file);
        Terminal terminal(stderr, /*quiet=*/false);
        cpu::Device device;
        CHECK(cli::run_verb(line, terminal, device) == cli::kDone);
        return file;
    }());
    INFO(both);
    const size_t warning = both.find("the outlier channels are found on --data itself"),
                 calibrating = both.find("calibrating on ");
    CHECK(warning < calibrating);
    CHECK(calibrating != std::string::npos);
}
