// Whole runs with --track-outliers: they compute what they compute without it, and what they write does not depend on
// where they are interrupted.
#include "quaff/run/training/stability_log.h"

#include <cmath>
#include <csignal>
#include <nlohmann/json.hpp>

#include "llmc/core/error.h"
#include "test/catch.h"
#include "test/quaff/workshop.h"

using namespace quaff;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

std::vector<json> lines_of(const fs::path& file) {
    std::vector<json> lines;
    std::ifstream in(file);
    for (std::string line; std::getline(in, line);) lines.push_back(json::parse(line));
    return lines;
}

std::vector<double> losses(const Workshop& shop, const std::string& out) {
    std::vector<double> values;
    for (const json& line : shop.log(out))
        if (line.contains("loss")) values.push_back(line["loss"]);
    return values;
}

using Arguments = std::vector<std::string>;

Arguments with(Arguments first, const Arguments& more) {
    first.insert(first.end(), more.begin(), more.end());
    return first;
}

}  // namespace

TEST_CASE("a run that is tracked has the losses and the adapter of one that is not", "[ossh][trainer]") {
    const Workshop shop("ossh_same");
    const std::string model = GENERATE("", "test/data/golden/llama_gqa/model", "test/data/golden/phi3/model");
    const std::string term = GENERATE("scaled", "split");
    Arguments more = {"--max-steps", "5",     "--batch-size",   "3", "--gradient-accumulation-steps", "2",
                      "--recompute", "block", "--outlier-term", term};
    if (!model.empty()) more = with(more, {"--model", model});
    shop.run("plain", more);
    shop.run("tracked", with(more, {"--track-outliers"}));
    CHECK_FALSE(fs::exists(shop.folder / "plain" / "ossh.jsonl"));
    CHECK(losses(shop, "plain").size() == 5);
    CHECK(losses(shop, "plain") == losses(shop, "tracked"));
    CHECK(shop.adapter("plain") == shop.adapter("tracked"));

    const std::vector<json> lines = lines_of(shop.folder / "tracked" / "ossh.jsonl");
    REQUIRE(lines.size() == 5 * 2 * 4);  // steps, blocks, linears
    for (size_t i = 0; i < lines.size(); i++) {
        const json& line = lines[i];
        CAPTURE(line.dump());
        CHECK(line["step"] == 1 + i / 8);
        CHECK(
            line["module"] ==
            all_joint_linears(read_model_config(model.empty() ? shop.folder / "model" : fs::path(model)))[i % 8].name);
        CHECK(line["channels"].get<int64_t>() >= 4);
        CHECK(line["found"] == line["channels"]);
        for (const char* share : {"hit_rate", "energy_outside", "row_maxima_outside"}) {
            CHECK(line[share].get<double>() >= 0);
            CHECK(line[share].get<double>() <= 1);
        }
        CHECK(line["snr_x_db"].get<double>() > 25);  // int8, one scale a token
        CHECK(line["snr_x_db"].get<double>() < 65);
        CHECK(line["overlap_previous"].is_null() == (i < 8));
        CHECK(line["scale_mean"].is_null() == (term == "split"));
        if (term == "scaled") CHECK(line["scale_min"].get<double>() >= 1);
    }
    CHECK_THAT(small::read_text(shop.folder / "tracked" / "ossh.svg"), Catch::Matchers::EndsWith("</svg>\n"));
    const std::string told = small::read_text(shop.folder / "terminal.txt");
    for (const char* kind : {"\n qkv_proj ", "\n o_proj ", "\n gate_up_proj ", "\n down_proj "})
        CHECK(told.find(kind) != std::string::npos);
}

TEST_CASE("the first linear of a step over the calibration's examples finds the calibration's channels", "[ossh]") {
    // Its input is the embeddings, which neither rounding nor adapters change.
    const Workshop shop("ossh_first");
    shop.run("run", {"--max-steps", "2", "--batch-size", "21", "--eval-split", "0", "--track-outliers"});
    const std::vector<json> lines = lines_of(shop.folder / "run" / "ossh.jsonl");
    const json chosen = json::parse(small::read_text(shop.folder / "run" / "outliers.json"))["channels"];
    CHECK(lines[0]["entered"] == chosen["model.layers.0.self_attn.qkv_proj"]);
    CHECK(lines[0]["hit_rate"] == 1);
    CHECK(lines[8]["hit_rate"] == 1);
    CHECK(lines[8]["overlap_previous"] == 1);
    CHECK(lines[8]["overlap_first"] == 1);
    CHECK(lines[8]["entered"].empty());
}

TEST_CASE("a resumed run leaves the ossh.jsonl and ossh.svg of one that was never stopped", "[ossh][trainer]") {
    const Workshop shop("ossh_resume");
    const Arguments tracked = {"--track-outliers", "--batch-size", "3", "--gradient-accumulation-steps", "2"};
    shop.run("whole", with({"--max-steps", "8", "--save-steps", "0"}, tracked));
    const std::string expected = small::read_text(shop.folder / "whole" / "ossh.jsonl"),
                      picture = small::read_text(shop.folder / "whole" / "ossh.svg");
    REQUIRE(lines_of(shop.folder / "whole" / "ossh.jsonl").size() == 8 * 8);
    const auto check = [&](const std::string& out) {
        CHECK(small::read_text(shop.folder / out / "ossh.jsonl") == expected);
        CHECK(small::read_text(shop.folder / out / "ossh.svg") == picture);
    };
    const auto closing = [&] {  // the last table on the terminal
        const std::string told = small::read_text(shop.folder / "terminal.txt");
        const size_t begin = told.rfind("outlier channels over 8 steps");
        REQUIRE(begin != std::string::npos);
        return told.substr(begin, told.find("\n each layer", begin) - begin);
    };
    const std::string table = closing();

    SECTION("five steps, then three more") {
        shop.run("parts", with({"--max-steps", "5"}, tracked));
        shop.run("parts", {"--resume", "--max-steps", "8"});
        check("parts");
        CHECK(closing() == table);
        shop.run("parts", {"--resume"});  // nothing is left to do
        check("parts");
    }
    SECTION("a signal in the middle of a step: it is taken again") {
        bool stopped = false;
        shop.run("stopped", with({"--max-steps", "8"}, tracked), &stopped, false,
                 [](int64_t step, int64_t done, int64_t) {
                     if (step == 6 && done == 1) raise(SIGTERM);
                 });
        REQUIRE(stopped);
        CHECK(lines_of(shop.folder / "stopped" / "ossh.jsonl").size() == 5 * 8);
        shop.run("stopped", {"--resume"});
        check("stopped");
    }
    SECTION("from an older checkpoint: its later lines are dropped, and kept beside the later checkpoints") {
        shop.run("branch", with({"--max-steps", "8", "--save-steps", "2", "--save-total-limit", "4"}, tracked));
        shop.run("branch", {"--resume", (shop.folder / "branch" / "checkpoint-4").string()});
        check("branch");
        CHECK(small::read_text(shop.folder / "branch" / "earlier" / "ossh.jsonl") == expected);
    }
    SECTION("in another folder") {
        shop.run("first", with({"--max-steps", "5"}, tracked));
        shop.run("second", {"--resume", (shop.folder / "first").string(), "--max-steps", "8"});
        check("second");
    }
    SECTION("lines are missing, and foreign ones are there: the run says so and goes on") {
        shop.run("torn", with({"--max-steps", "5"}, tracked));
        std::vector<json> lines = lines_of(shop.folder / "torn" / "ossh.jsonl");
        std::string text = "{\"note\": 1}\n{\"step\": 2, \"module\": 3}\n";
        for (size_t i = 8; i < lines.size(); i++) text += lines[i].dump() + "\n" + lines[i].dump() + "\n";
        small::write_text(shop.folder / "torn" / "ossh.jsonl", text + "{\"step\": 5, \"mod");
        shop.run("torn", {"--resume", "--max-steps", "8"});
        const std::vector<json> after = lines_of(shop.folder / "torn" / "ossh.jsonl");
        CHECK(after.size() == 7 * 8);
        CHECK(after[0]["step"] == 2);
        CHECK(after.back()["step"] == 8);
    }
    SECTION("a new run in the same folder sets them aside") {
        shop.run("again", with({"--max-steps", "8"}, tracked));
        shop.run("again", {"--max-steps", "1"});
        CHECK(small::read_text(shop.folder / "again" / "earlier" / "ossh.jsonl") == expected);
        CHECK_FALSE(fs::exists(shop.folder / "again" / "ossh.jsonl"));
        CHECK_FALSE(fs::exists(shop.folder / "again" / "ossh.svg"));
    }
}

TEST_CASE("without outlier channels there is nothing to track, and the run says so", "[ossh]") {
    const Workshop shop("ossh_none");
    // No |x| is a million times the mean: calibration finds nothing.
    shop.run("run", {"--max-steps", "2", "--track-outliers", "--outlier-strategy", "mean_times", "--outlier-threshold",
                     "1e6"});
    const std::vector<json> lines = lines_of(shop.folder / "run" / "ossh.jsonl");
    REQUIRE(lines.size() == 2 * 8);
    for (const json& line : lines) {
        CHECK(line["channels"] == 0);
        CHECK(line["hit_rate"].is_null());
        CHECK(line["energy_outside"] == 1);
    }
}
