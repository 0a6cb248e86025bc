#include "quaff/cli/demo.h"

#include "test/catch.h"
#include "test/files.h"

using quaff::cli::demo_folder;
namespace fs = std::filesystem;

TEST_CASE("the demo is that of the sources, else the one installed beside the program", "[options]") {
    const test::TempDir prefix;
    const fs::path program = prefix / "bin/train_quaff", installed = prefix / "share/train_quaff/demo";
    fs::create_directories(installed);
    CHECK(demo_folder(program) == "dev/demo");  // tests run in the sources

    const fs::path sources = fs::current_path();
    fs::current_path(prefix.path());
    const std::string with = demo_folder(program), without = demo_folder(prefix / "elsewhere/bin/train_quaff");
    fs::current_path(sources);
    CHECK(with == installed.string());
    CHECK(without == "dev/demo");
}
