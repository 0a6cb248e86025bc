// What a path, or a name in a file, may do to this program: be refused in a sentence that a terminal can show.
#include "llmc/io/path.h"

#include <unistd.h>

#include "llmc/io/file_io.h"
#include "llmc/io/toml.h"
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

TEST_CASE("names from files do not command the terminal", "[path]") {
    CHECK(Error("a\x1B[2Jb\rc\td\ne\x7F").what() == std::string("a?[2Jb?c\td\ne?"));
    CHECK(Error("caf\xC3\xA9 \xC2\x9B \xC2\xA0 \xC2").what() == std::string("caf\xC3\xA9 ? \xC2\xA0 \xC2"));
}

TEST_CASE("a file without end is no file of options", "[path]") {
    CHECK(error_of([] { read_toml("/dev/zero"); }).find("/dev/zero: is larger than") == 0);
}

TEST_CASE("a temporary file is never one that is there already", "[path]") {
    const test::TempDir folder;
    const auto victim = folder.write("victim", "precious");
    // The names that the next files would get, as links to somebody's file.
    for (int i = 0; i < 1000; ++i) fs::create_symlink(victim, folder / concat(".out.", ::getpid(), "-", i, ".tmp"));
    write_file_atomically(folder / "out", "content");
    CHECK(test::read(victim) == "precious");
    CHECK(test::read(folder / "out") == "content");
    CHECK_FALSE(fs::is_symlink(folder / "out"));
}
