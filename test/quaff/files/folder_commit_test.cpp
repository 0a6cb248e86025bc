#include "quaff/files/folder_commit.h"

#include <unistd.h>

#include "llmc/core/error.h"
#include "llmc/io/file_io.h"
#include "test/catch.h"
#include "test/files.h"

using namespace quaff;
namespace fs = std::filesystem;
using test::fresh_folder;
using test::write_text;

TEST_CASE("a folder that is being written is its user's alone, and is like any other afterwards", "[checkpoint]") {
    const fs::path out = fresh_folder("private");
    const auto mode_of = [](const fs::path& path) { return fs::status(path).permissions(); };
    write_folder(out / "a", [&](const fs::path& folder) { CHECK(mode_of(folder) == fs::perms::owner_all); });
    fs::create_directory(out / "b");
    CHECK(mode_of(out / "a") == mode_of(out / "b"));
}

TEST_CASE("a new folder replaces an empty one and nothing else, however late it came", "[checkpoint]") {
    const fs::path out = fresh_folder("new_folder");
    fs::create_directory(out / "a");
    write_new_folder(out / "a", [&](const fs::path& folder) { llmc::write_file_atomically(folder / "x", "ours"); });
    CHECK(llmc::read_file(out / "a/x") == "ours");
    CHECK_THROWS_WITH(write_new_folder(out / "b",
                                       [&](const fs::path& folder) {
                                           llmc::write_file_atomically(folder / "x", "ours");
                                           fs::create_directory(out / "b");
                                           llmc::write_file_atomically(out / "b/precious", "theirs");
                                       }),
                      Catch::Matchers::ContainsSubstring("something else has taken the name meanwhile"));
    CHECK(llmc::read_file(out / "b/precious") == "theirs");
    CHECK(std::distance(fs::directory_iterator(out), {}) == 2);  // no temporary folder is left
}

TEST_CASE("folders are replaced with and without an exchange of names", "[checkpoint]") {
    const fs::path out = fresh_folder("replace"), target = out / "adapter", temporary = out / "new";
    const bool may_exchange = GENERATE(true, false);
    for (const fs::path& folder : {target, temporary}) {
        fs::create_directories(folder);
        write_text(folder / "name", folder.filename().string());
    }
    SECTION("both are there") {
        replace_folder(temporary, target, may_exchange);
        CHECK(test::read(target / "name") == "new");
    }
    SECTION("the new one cannot be moved: the old one stays") {
        CHECK_THROWS_AS(replace_folder(out / "missing", target, may_exchange), llmc::Error);
        CHECK(test::read(target / "name") == "adapter");
        fs::remove_all(temporary);
    }
    SECTION("an earlier swap was killed half-way: the old one is put back, then replaced") {
        fs::rename(target, out / ".adapter.old");
        CHECK_THROWS_AS(replace_folder(out / "missing", target, may_exchange), llmc::Error);
        CHECK(test::read(target / "name") == "adapter");
        replace_folder(temporary, target, may_exchange);
        CHECK(test::read(target / "name") == "new");
    }
    SECTION("an earlier swap was killed before its end: what it had replaced is not taken for the folder") {
        fs::create_directories(out / ".adapter.old");
        restore_folders(out, "");
        CHECK(test::read(target / "name") == "adapter");
        replace_folder(temporary, target, /*may_exchange=*/false);
        CHECK(test::read(target / "name") == "new");
    }
    CHECK(std::distance(fs::directory_iterator(out), {}) == 1);
}

TEST_CASE("temporary folders of dead processes go, all others stay", "[checkpoint]") {
    const fs::path out = fresh_folder("temporary");
    // Process ids end below 2^22 on Linux: the first is nobody's. The second is this process.
    const fs::path dead = out / ".checkpoint-1.2147483647-0.tmp";
    const fs::path living = out / (".checkpoint-1." + std::to_string(getpid()) + "-999999.tmp");
    const fs::path foreign = out / ".checkpoint-1.tmp";
    for (const fs::path& folder : {dead, living, foreign}) fs::create_directories(folder / "content");
    write_folder(out / "checkpoint-1", [](const fs::path& folder) { write_text(folder / "state.json", "{}"); });
    CHECK_FALSE(fs::exists(dead));
    CHECK(fs::exists(living / "content"));
    CHECK(fs::exists(foreign / "content"));
}

TEST_CASE("who has the folder's lock clears what killed runs left, its own process number included", "[checkpoint]") {
    const fs::path out = fresh_folder("leftovers");
    const std::string own = std::to_string(getpid());
    for (const std::string& name : {std::string(".checkpoint-7.2147483647-0.tmp"), ".adapter." + own + "-3.tmp"})
        fs::create_directories(out / name / "content");
    write_text(out / (".log.jsonl." + own + "-1.tmp"), "torn");
    // Process 1 lives for ever; the rest is nobody's temporary name.
    const std::vector<std::string> others = {".adapter.1-0.tmp", ".adapter.tmp",      ".5-0.tmp",
                                             "adapter.5-0.tmp",  ".adapter.5-0.tmp2", ".lock"};
    for (const std::string& name : others) write_text(out / name, "");
    remove_leftovers(out);
    for (const std::string& name : others) CHECK(fs::exists(out / name));
    CHECK(std::distance(fs::directory_iterator(out), {}) == static_cast<std::ptrdiff_t>(others.size()));
    remove_leftovers(out / "missing");
}
