#include "llmc/training/log.h"

#include <sys/resource.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "llmc/core/error.h"
#include "test/catch.h"
#include "test/files.h"

using namespace llmc;
namespace fs = std::filesystem;
using test::fresh_folder;
using test::write_text;

TEST_CASE("the log has a line per object, at once on disk", "[log]") {
    const fs::path path = fresh_folder("log") / "log.jsonl";
    JsonLog log(path.string());
    log.write({{"step", 1}, {"loss", 1.5}});
    CHECK(test::read(path) == "{\"step\":1,\"loss\":1.5}\n");
    log.write({{"step", 2}, {"loss", 1.25}});
    CHECK(test::read(path) == "{\"step\":1,\"loss\":1.5}\n{\"step\":2,\"loss\":1.25}\n");
}

TEST_CASE("a resumed log drops the steps that will be taken again, and a torn line", "[log]") {
    const fs::path path = fresh_folder("log_resume") / "log.jsonl";
    const std::string before = "{\"step\":0,\"eval_loss\":3}\n";
    write_text(path, before + "{\"step\":1}\n{\"step\":2}\n{\"step\":3}\n{\"ste");
    {
        JsonLog log(path.string(), up_to_step(2));
        log.write({{"step", 3}, {"loss", 1}});
    }
    CHECK(test::read(path) == before + "{\"step\":1}\n{\"step\":2}\n{\"step\":3,\"loss\":1}\n");
    { JsonLog log(path.string(), up_to_step(0)); }
    CHECK(test::read(path) == before);  // a run that resumes from step 0 has been evaluated already
    { JsonLog log(path.string()); }
    CHECK(test::read(path).empty());
    CHECK_THROWS_AS(JsonLog((path.parent_path() / "no" / "log.jsonl").string()), Error);
}

TEST_CASE("a resumed log keeps lines that are not the run's own", "[log]") {
    const fs::path path = fresh_folder("log_foreign") / "log.jsonl";
    const std::string foreign = "{\"step\":\"two\"}\n{\"step\":null}\n{\"note\":\"by hand\"}\n";
    write_text(path, foreign + "{\"step\":18446744073709551615}\n{\"step\":2.5}\n[1]\n3\n");
    { JsonLog log(path.string(), up_to_step(2)); }
    CHECK(test::read(path) == foreign);
}

TEST_CASE("the old log is there until the shortened one takes its place", "[log]") {
    const fs::path folder = fresh_folder("log_atomic"), path = folder / "log.jsonl";
    write_text(path, "{\"step\":1}\n{\"step\":2}\n");
    std::ifstream reader(path);  // holds the old file, which is replaced, not overwritten
    { JsonLog log(path.string(), up_to_step(1)); }
    CHECK(std::string(std::istreambuf_iterator<char>(reader), {}) == "{\"step\":1}\n{\"step\":2}\n");
    CHECK(test::read(path) == "{\"step\":1}\n");
    CHECK(std::distance(fs::directory_iterator(folder), {}) == 1);
}

TEST_CASE("a log line that cannot be written waits, and what was cut short is carried on", "[log]") {
    const fs::path path = fresh_folder("log_full") / "log.jsonl";
    JsonLog log(path.string());
    CHECK(log.write({{"step", 1}}).empty());
    // No file may grow beyond half of the second line: the disk is full.
    rlimit before{};
    getrlimit(RLIMIT_FSIZE, &before);
    const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
    rlimit full = before;
    full.rlim_cur = 17;
    setrlimit(RLIMIT_FSIZE, &full);
    const std::string second = log.write({{"step", 2}}), third = log.write({{"step", 3}});
    setrlimit(RLIMIT_FSIZE, &before);
    std::signal(SIGXFSZ, old_handler);
    CHECK(second == path.string() + ": cannot write the log: File too large");
    CHECK(third == second);
    CHECK(test::read(path) == "{\"step\":1}\n{\"step");
    CHECK(log.write({{"step", 4}}).empty());
    CHECK(test::read(path) == "{\"step\":1}\n{\"step\":2}\n{\"step\":3}\n{\"step\":4}\n");
}
