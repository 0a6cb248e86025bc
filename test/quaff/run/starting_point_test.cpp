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
