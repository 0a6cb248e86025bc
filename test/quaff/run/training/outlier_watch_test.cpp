// Runs with --refresh-outliers.
#include "quaff/run/training/outlier_watch.h"

#include <csignal>
#include <nlohmann/json.hpp>

#include "test/catch.h"
#include "test/quaff/workshop.h"

using namespace quaff;
using nlohmann::json;

namespace {

using Arguments = std::vector<std::string>;

// A workshop with a file of channels that nobody would have chosen: the first four of every linear.
struct Refreshing : Workshop {
    explicit Refreshing(const std::string& name) : Workshop(name) {
        json channels;
        for (const JointLinear& joint : all_joint_linears(read_model_config(folder / "model")))
            channels[joint.name] = {0, 1, 2, 3};
        small::write_text(folder / "first.json", json{{"model", "m"},
                                                      {"strategy", "token_max"},
                                                      {"threshold", 100},
                                                      {"max_ratio", 0.125},
                                                      {"dataset", "d"},
                                                      {"samples", 1},
                                                      {"channels", channels}}
                                                     .dump());
        common.insert(common.end(), {"--outliers", (folder / "first.json").string()});
    }
    json channels(const std::string& out) const { return quaff_json(out + "/adapter")["outliers"]["channels"]; }
    std::vector<int64_t> refreshed(const std::string& out) const {
        std::vector<int64_t> steps;
        for (const json& line : log(out))
            if (line.contains("replaced_outlier_channels")) steps.push_back(line["step"]);
        return steps;
    }
};

}  // namespace

TEST_CASE("after every N-th step the channels are those of its batch", "[ossh][trainer]") {
    const Refreshing shop("refresh");
    const Arguments more = {"--batch-size", "21", "--eval-split", "0", "--max-steps", "4", "--seed", "3"};
    const auto run = [&](const std::string& out, Arguments extra) {
        extra.insert(extra.end(), more.begin(), more.end());
        shop.run(out, extra);
    };
    run("never", {});
    run("later", {"--refresh-outliers", "5"});
    CHECK(shop.adapter("later") == shop.adapter("never"));
    CHECK(shop.channels("never")["model.layers.0.mlp.down_proj"] == json{0, 1, 2, 3});
    CHECK(shop.refreshed("later").empty());

    run("second", {"--refresh-outliers", "2", "--track-outliers"});
    REQUIRE_FALSE(shop.refreshed("second").empty());
    CHECK(shop.refreshed("second")[0] == 2);
    // The step is over all examples, and neither rounding nor adapters change the first linear's input: calibration
    // finds the same.
    const Workshop other("refresh_calibrated");  // with the same examples
    other.run("run", {"--max-steps", "1", "--eval-split", "0"});
    CHECK(shop.channels("second")["model.layers.0.self_attn.qkv_proj"] ==
          other.quaff_json("run/adapter")["outliers"]["channels"]["model.layers.0.self_attn.qkv_proj"]);
    const std::string told = small::read_text(shop.folder / "terminal.txt");
    CHECK(told.find(" outlier channels of 32 replaced, in ") != std::string::npos);
    // From then on the batches are compared with the new ones.
    std::ifstream file(shop.folder / "second" / "ossh.jsonl");
    std::vector<json> lines;
    for (std::string line; std::getline(file, line);) lines.push_back(json::parse(line));
    REQUIRE(lines.size() == 4 * 8);
    CHECK(lines[0]["hit_rate"].get<double>() < 1);
    CHECK(lines[8]["hit_rate"].get<double>() < 1);
    CHECK(lines[16]["hit_rate"] == 1);
}

TEST_CASE("a resumed run refreshes its channels as one that was never stopped", "[ossh][trainer]") {
    const Refreshing shop("refresh_resume");
    const std::string term = GENERATE("scaled", "split");
    const Arguments more = {"--batch-size",   "3", "--gradient-accumulation-steps", "2", "--refresh-outliers", "3",
                            "--outlier-term", term};
    const auto run = [&](const std::string& out, Arguments extra, int64_t stopped_in = 0) {
        extra.insert(extra.end(), more.begin(), more.end());
        bool stopped = false;
        shop.run(out, extra, &stopped, false, [&](int64_t step, int64_t done, int64_t) {
            if (step == stopped_in && done == 1) raise(SIGTERM);
        });
        CHECK(stopped == (stopped_in > 0));
    };
    run("whole", {"--max-steps", "8"});
    CHECK(shop.channels("whole")["model.layers.1.mlp.down_proj"] != json{0, 1, 2, 3});
    const int64_t stopped_in = GENERATE(3, 4, 6);
    run("parts", {"--max-steps", "8"}, stopped_in);
    shop.run("parts", {"--resume"});
    CHECK(shop.adapter("parts") == shop.adapter("whole"));
    CHECK(shop.refreshed("parts") == shop.refreshed("whole"));
}
