#include "quaff/checkpoint_folder.h"

#include <cstdlib>
#include <fstream>

#include "llmc/error.h"
#include "test/catch.h"

using namespace quaff;
namespace fs = std::filesystem;

namespace {

fs::path fresh_folder(const std::string& name) {
    const fs::path folder = fs::temp_directory_path() / ("train_quaff_checkpoint_" + name);
    fs::remove_all(folder);
    fs::create_directories(folder);
    return folder;
}

void write_text(const fs::path& path, const std::string& text) {
    std::ofstream(path, std::ios::binary) << text;
}

std::string read_text(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

void write_one(const fs::path& out, int64_t step, int64_t keep = 0) {
    write_checkpoint(out, step, keep, [&](const fs::path& folder) {
        write_text(folder / "state.json", "{\"step\": " + std::to_string(step) + "}");
        write_text(folder / "weights.bin", std::string(100000, static_cast<char>(step)));
    });
}

int64_t newest_step(const fs::path& out, int64_t* n_passed_over = nullptr) {
    const fs::path newest = newest_intact_checkpoint(out, [&](const std::string& damage) {
        CHECK(damage.find(out.string()) != std::string::npos);
        if (n_passed_over) ++*n_passed_over;
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
    int64_t passed_over = 0;
    CHECK(newest_step(out, &passed_over) == 100);
    CHECK(passed_over == 1);
}

TEST_CASE("every kind of damage is found, and the checkpoint before is used", "[checkpoint]") {
    const fs::path out = fresh_folder("damage");
    write_one(out, 1);
    write_one(out, 2);
    const fs::path newest = out / "checkpoint-2";
    SECTION("one bit of a file") {
        std::string weights = read_text(newest / "weights.bin");
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
        std::string manifest = read_text(newest / "manifest.sha256");
        manifest[3] = manifest[3] == 'a' ? 'b' : 'a';
        write_text(newest / "manifest.sha256", manifest);
    }
    CHECK_FALSE(find_damage(newest).empty());
    CHECK(newest_step(out) == 1);
    fs::remove(out / "checkpoint-1" / "state.json");
    CHECK_THROWS_AS(newest_step(out), llmc::Error);
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

TEST_CASE("a new run sets the checkpoints of the one before aside", "[checkpoint]") {
    const fs::path out = fresh_folder("aside");
    CHECK_FALSE(set_earlier_run_aside(out));
    write_one(out, 5);
    write_text(out / "log.jsonl", "{}\n");
    CHECK(set_earlier_run_aside(out));
    CHECK(list_checkpoints(out).empty());
    CHECK(list_checkpoints(out / "earlier").size() == 1);
    CHECK(fs::exists(out / "earlier" / "log.jsonl"));
}
