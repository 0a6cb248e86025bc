#include <filesystem>

#include "quaff/cli/parsing.h"
#include "test/catch.h"
#include "test/environment.h"
#include "test/files.h"

using namespace quaff;
using Catch::Matchers::ContainsSubstring;
using test::Variable;

TEST_CASE("--model takes a name of the hub, and a run is recorded under it", "[hub]") {
    const test::TempDir cache;
    const auto snapshot = cache / "models--org--name" / "snapshots" / "abc";
    std::filesystem::create_directories(snapshot);
    std::filesystem::create_directories(cache / "models--org--name" / "refs");
    test::write_text(cache / "models--org--name" / "refs" / "main", "abc");
    const Variable hub("HF_HUB_CACHE", cache.path().string());

    const cli::CommandLine line = cli::parse({"--model", "org/name", "--data", "d.jsonl"});
    CHECK(line.options.model.folder == snapshot.string());
    CHECK(line.options.model.name() == "org/name");
    CHECK(line.options.out == "out/name-quaff");
    CHECK_THAT(cli::record_of(line, line.options).config, ContainsSubstring("model = \"org/name\""));

    const cli::CommandLine other = cli::parse({"--model", "org/other", "--data", "d.jsonl"});
    CHECK(other.options.model.folder == "org/other");
    CHECK(other.options.model.hub_name.empty());
}
