#include "quaff/files/checkpoint_folder.h"

#include <cstdlib>

#include "llmc/core/error.h"
#include "test/catch.h"
#include "test/files.h"

using namespace quaff;
namespace fs = std::filesystem;
using test::fresh_folder;
using test::write_text;

namespace {

void write_one(const fs::path& out, int64_t step, int64_t keep = 0) {
    write_checkpoint(out, step, keep, [&](const fs::path& folder) {
        write_text(folder / "state.json", "{\"step\": " + std::to_string(step) + "}");
        write_text(folder / "weights.bin", std::string(100000, static_cast<char>(step)));
    });
}

int64_t newest_step(const fs::path& out, int64_t* n_damaged = nullptr) {
    const fs::path newest = newest_intact_checkpoint(out, [&](const std::string& damage) {
        CHECK(damage.find(out.string()) != std::string::npos);
        if (n_damaged) ++*n_damaged;
    });
    return std::stoll(newest.filename().string().substr(std::string("checkpoint-").size()));
}

}  // namespace

TEST_CASE("a checkpoint is whole, and sha256sum agrees with its manifest", "[checkpoint]") {
    const fs::path out = fresh_folder("whole");
    write_one(out, 7);
    CHECK(find_damage(out / "checkpoint-7").empty());
    CHECK(std::system(("cd " + (out / "checkpoint-7").string() + " && sha256sum --quiet -c manifest.sha256").c_str()) ==
          0);
    int64_t entries = 0;
    for ([[maybe_unused]] const auto& entry : fs::directory_iterator(out)) ++entries;
    CHECK(entries == 1);  // no temporary name is left behind
}

TEST_CASE("the newest by step is found, by number and not by name", "[checkpoint]") {
    const fs::path out = fresh_folder("newest");
    for (const int step : {9, 100, 20}) write_one(out, step);
    write_text(out / "checkpoint-200", "a file, not a folder");
    fs::create_directories(out / "checkpoint-x");
    int64_t damaged = 0;
    CHECK(newest_step(out, &damaged) == 100);
    CHECK(damaged == 1);
}

TEST_CASE("every kind of damage is found, and the checkpoint before is used", "[checkpoint]") {
    const fs::path out = fresh_folder("damage");
    write_one(out, 1);
    write_one(out, 2);
    const fs::path newest = out / "checkpoint-2";
    SECTION("one bit of a file") {
        std::string weights = test::read(newest / "weights.bin");
        weights[99999] = static_cast<char>(weights[99999] ^ 1);
        write_text(newest / "weights.bin", weights);
    }
    SECTION("a file cut short") {
        fs::resize_file(newest / "weights.bin", 4096);
    }
    SECTION("a file grown") {
        fs::resize_file(newest / "weights.bin", 100001);
    }
    SECTION("a missing file") {
        fs::remove(newest / "state.json");
    }
    SECTION("no manifest") {
        fs::remove(newest / "manifest.sha256");
    }
    SECTION("an empty manifest") {
        fs::resize_file(newest / "manifest.sha256", 0);
    }
    SECTION("a torn manifest") {
        fs::resize_file(newest / "manifest.sha256", 50);
    }
    SECTION("a changed digest") {
        std::string manifest = test::read(newest / "manifest.sha256");
        manifest[3] = manifest[3] == 'a' ? 'b' : 'a';
        write_text(newest / "manifest.sha256", manifest);
    }
    CHECK_FALSE(find_damage(newest).empty());
    CHECK(newest_step(out) == 1);
    fs::remove(out / "checkpoint-1" / "state.json");
    CHECK_THROWS_AS(newest_step(out), llmc::Error);
}

TEST_CASE("the spared checkpoint stays, as one of those that are kept or beside the only one", "[checkpoint]") {
    const fs::path out = fresh_folder("spared");
    const int64_t keep = GENERATE(1, 2, 3);
    CAPTURE(keep);
    const auto write = [](const fs::path& folder) { write_text(folder / "state.json", "{}"); };
    for (int64_t step = 1; step <= 6; ++step) write_checkpoint(out, step, keep, write, /*spared=*/step >= 2 ? 2 : 1);
    std::vector<std::string> names;
    for (const fs::path& checkpoint : list_checkpoints(out)) names.push_back(checkpoint.filename().string());
    if (keep == 3)
        CHECK(names == std::vector<std::string>{"checkpoint-6", "checkpoint-5", "checkpoint-2"});
    else
        CHECK(names == std::vector<std::string>{"checkpoint-6", "checkpoint-2"});
}

TEST_CASE("a failed write leaves the old checkpoint, and only it", "[checkpoint]") {
    const fs::path out = fresh_folder("failed");
    write_one(out, 3);
    const auto fail_half_way = [](const fs::path& folder) {
        write_text(folder / "state.json", "{}");
        llmc::fail("the disk is full");
    };
    CHECK_THROWS_AS(write_checkpoint(out, 3, 0, fail_half_way), llmc::Error);
    CHECK_THROWS_AS(write_checkpoint(out, 4, 0, fail_half_way), llmc::Error);
    CHECK(list_checkpoints(out).size() == 1);
    CHECK(find_damage(out / "checkpoint-3").empty());
    write_one(out, 3);  // again under the same name: replaced
    CHECK(find_damage(out / "checkpoint-3").empty());
}

TEST_CASE("only the newest checkpoints are kept", "[checkpoint]") {
    const fs::path out = fresh_folder("keep");
    for (int step = 1; step <= 12; ++step) write_one(out, step, 2);
    const auto kept = list_checkpoints(out);
    REQUIRE(kept.size() == 2);
    CHECK(kept[0].filename() == "checkpoint-12");
    CHECK(kept[1].filename() == "checkpoint-11");
}

TEST_CASE("damaged checkpoints do not count, and the one just written is never removed", "[checkpoint]") {
    const fs::path out = fresh_folder("keep_intact");
    for (int step = 1; step <= 4; ++step) write_one(out, step);
    fs::remove(out / "checkpoint-4" / "state.json");
    fs::remove(out / "checkpoint-2" / "state.json");
    write_one(out, 9);
    SECTION("two are kept: a lower step than others, and the intact one below it") {
        write_one(out, 5, 2);
        CHECK(find_damage(out / "checkpoint-5").empty());
        CHECK(find_damage(out / "checkpoint-3").empty());
        CHECK_FALSE(fs::exists(out / "checkpoint-2"));
        CHECK_FALSE(fs::exists(out / "checkpoint-1"));
        CHECK(fs::exists(out / "checkpoint-9"));  // not of this run's past
    }
    SECTION("one is kept: the one just written") {
        write_one(out, 5, 1);
        CHECK(find_damage(out / "checkpoint-5").empty());
        CHECK(list_checkpoints(out).size() == 2);
    }
}

TEST_CASE("a checkpoint that was moved aside by a killed run is found again", "[checkpoint]") {
    const fs::path out = fresh_folder("restore");
    write_one(out, 2);
    write_one(out, 3);
    fs::rename(out / "checkpoint-3", out / ".checkpoint-3.old");
    CHECK(newest_step(out) == 3);
}

TEST_CASE("a folder with state.json is a checkpoint, any other a run to search", "[checkpoint]") {
    const fs::path out = fresh_folder("named");
    write_one(out, 4);
    write_one(out, 40);
    fs::create_directories(out / "checkpoint-50");
    const auto silent = [](const std::string&) {};
    const auto resumed = [&](const std::string& from) { return checkpoint_to_resume(from, silent).string(); };
    const std::string older = (out / "checkpoint-4").string(), newer = (out / "checkpoint-40").string();
    CHECK(resumed(older) == older);
    CHECK(resumed(older + "/") == older);
    CHECK(resumed(older + "//.") == older);
    CHECK(resumed(out.string()) == newer);
    CHECK(resumed(out.string() + "/") == newer);
    CHECK_THROWS_AS(resumed((out / "checkpoint-50").string()), llmc::Error);
    CHECK(run_folder(older + "/") == out);
    CHECK(run_folder(out / "") == out);
    CHECK(run_folder("checkpoint-none/") == "checkpoint-none");
    fs::rename(older, out / "best");  // whatever its name
    CHECK(resumed((out / "best").string()) == (out / "best").string());
    CHECK(run_folder(out / "best") == out);
    fs::resize_file(out / "best" / "weights.bin", 5);
    CHECK_THROWS_AS(resumed((out / "best").string()), llmc::Error);
}

TEST_CASE("a new run sets what an earlier one left aside and removes nothing", "[checkpoint]") {
    const fs::path out = fresh_folder("aside");
    write_text(out / "outliers.json", "{}");
    CHECK(set_earlier_run_aside(out).empty());
    for (const std::string folder : {"earlier", "earlier-2", "earlier-3"}) {
        write_one(out, 5);
        fs::create_directories(out / "adapter");
        for (const char* name : {"log.jsonl", "outliers.json", "config.toml", "ossh.jsonl", "ossh.svg", "report.html"})
            write_text(out / name, folder);
        CHECK(set_earlier_run_aside(out) == out / folder);
        CHECK(list_checkpoints(out).empty());
    }
    for (const std::string folder : {"earlier", "earlier-2", "earlier-3"}) {
        CHECK(find_damage(out / folder / "checkpoint-5").empty());
        CHECK(fs::exists(out / folder / "adapter"));
        for (const char* name : {"log.jsonl", "outliers.json", "config.toml", "ossh.jsonl", "ossh.svg", "report.html"})
            CHECK(test::read(out / folder / name) == folder);
    }
    CHECK(std::distance(fs::directory_iterator(out), {}) == 3);
}

TEST_CASE("a resumed run sets the checkpoints above its step aside", "[checkpoint]") {
    const fs::path out = fresh_folder("later");
    for (const int step : {2, 4, 6, 8}) write_one(out, step);
    write_text(out / "log.jsonl", "{}\n");
    write_text(out / "ossh.jsonl", "{ }\n");
    fs::create_directories(out / "adapter");
    CHECK(set_later_steps_aside(out, 8).empty());
    CHECK(set_later_steps_aside(out, 4) == out / "earlier");
    CHECK(list_checkpoints(out).size() == 2);
    CHECK(list_checkpoints(out / "earlier").size() == 2);
    CHECK(fs::exists(out / "earlier" / "adapter"));
    for (const char* name : {"log.jsonl", "ossh.jsonl"})
        CHECK(test::read(out / name) == test::read(out / "earlier" / name));
}
