#include "llmc/io/path.h"

#include <filesystem>

#include "test/catch.h"
#include "test/files.h"

using namespace llmc;
using test::error_of;
namespace fs = std::filesystem;

TEST_CASE("a path that cannot be reached is an Error, one that leads nowhere is not there", "[path]") {
    const test::TempDir folder;
    CHECK(path_exists(folder.write("file", "x")));
    CHECK_FALSE(path_is_directory(folder / "file"));
    CHECK(path_is_directory(folder.path()));
    CHECK_FALSE(path_exists(folder / "none"));
    CHECK_FALSE(path_exists(folder / "file/below"));

    fs::create_symlink("circle", folder / "circle");
    CHECK(error_of([&] { path_exists(folder / "circle"); }).find("circle: cannot be reached: ") != std::string::npos);
    const std::string error = error_of([] { path_is_directory(std::string(5000, 'a')); });
    CHECK(error.find("cannot be reached: File name too long") != std::string::npos);
    CHECK(error.size() < 300);
}
