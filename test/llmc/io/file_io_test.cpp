#include "llmc/io/file_io.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "test/catch.h"
#include "test/files.h"

using namespace llmc;
using test::error_of;
using test::TempDir;
namespace fs = std::filesystem;

TEST_CASE("a file is replaced as a whole and nothing else is left in the directory", "[file_io]") {
    const TempDir directory;
    write_file_atomically(directory / "a.json", "first");
    write_file_atomically(directory / "a.json", std::string("se\0cond", 7));
    CHECK(read_file(directory / "a.json") == std::string("se\0cond", 7));
    {
        AtomicFile abandoned(directory / "a.json");
        abandoned.write("half of the third");
    }
    CHECK(read_file(directory / "a.json").size() == 7);
    CHECK(std::distance(fs::directory_iterator(directory.path()), {}) == 1);
}

TEST_CASE("a temporary file is never one that is there already", "[file_io]") {
    const TempDir folder;
    const auto victim = folder.write("victim", "precious");
    // The names that the next files would get, as links to somebody's file.
    for (int i = 0; i < 1000; ++i) fs::create_symlink(victim, folder / concat(".out.", ::getpid(), "-", i, ".tmp"));
    write_file_atomically(folder / "out", "content");
    CHECK(test::read(victim) == "precious");
    CHECK(test::read(folder / "out") == "content");
    CHECK_FALSE(fs::is_symlink(folder / "out"));
}

TEST_CASE("what is being written is its user's alone, and is like any file or directory afterwards", "[file_io]") {
    const TempDir directory;
    const auto mode_of = [](const fs::path& path) { return fs::status(path).permissions(); };
    const auto only_entry = [&] { return fs::directory_iterator(directory.path())->path(); };
    AtomicFile file(directory / "a.json");
    CHECK(mode_of(only_entry()) == (fs::perms::owner_read | fs::perms::owner_write));
    file.write("x");
    file.commit();
    const fs::perms file_mode = mode_of(directory / "a.json");
    CHECK(file_mode == mode_of(directory.write("any", "x")));

    REQUIRE(make_private_directory(directory / "new"));
    CHECK(mode_of(directory / "new") == fs::perms::owner_all);
    CHECK_FALSE(make_private_directory(directory / "new"));
    fs::create_directory(directory / "any folder");
    publish_directory(directory / "new");
    CHECK(mode_of(directory / "new") == mode_of(directory / "any folder"));
    // A folder with the group bit hands its group down, and so do the folders in it.
    fs::permissions(directory / "new", fs::perms::owner_all | fs::perms::set_gid);
    publish_directory(directory / "new");
    CHECK(mode_of(directory / "new") == (mode_of(directory / "any folder") | fs::perms::set_gid));
    CHECK(error_of(directory, [&] { make_private_directory(directory / "no/new"); }) ==
          "no/new: cannot create the directory: No such file or directory; create the directory first");
}

TEST_CASE("a lock that somebody has laid as a link is not followed", "[file_io]") {
    const TempDir directory;
    const fs::path other = directory.write("other", "somebody's");
    fs::create_symlink(other, directory / ".lock");
    CHECK_THAT(error_of(directory, [&] { DirectoryLock lock(directory.path()); }),
               Catch::Matchers::StartsWith(".lock: cannot create the file that keeps others out: "));
    CHECK(read_file(other) == "somebody's");
}

TEST_CASE("a directory is locked by one at a time, which is named, and nothing is left in it", "[file_io]") {
    const TempDir directory;
    const auto lock = [&] { return error_of(directory, [&] { DirectoryLock again(directory / ""); }); };
    {
        const DirectoryLock first(directory.path());
        const std::string refusal = lock();
        CHECK(refusal.find(": another run (process " + std::to_string(::getpid()) + " on ") != std::string::npos);
        CHECK(refusal.ends_with(") is writing there; wait for it, or choose another --out"));
    }
    CHECK(lock().empty());
    CHECK(fs::is_empty(directory.path()));
    CHECK(error_of(directory, [&] { DirectoryLock lost(directory / "no"); }) ==
          "no/.lock: cannot create the file that keeps others out: No such file or directory; create the directory "
          "first");
}

TEST_CASE("the lock of a process that was killed is taken over", "[file_io]") {
    const TempDir directory;
    int ready[2];
    REQUIRE(::pipe(ready) == 0);
    const pid_t process = ::fork();
    if (process == 0) {
        const DirectoryLock lock(directory.path());
        (void)!::write(ready[1], "x", 1);
        while (true) ::pause();
    }
    char byte;
    REQUIRE(::read(ready[0], &byte, 1) == 1);
    const auto lock = [&] { return error_of([&] { DirectoryLock again(directory.path()); }); };
    CHECK(lock().find("(process " + std::to_string(process) + " on ") != std::string::npos);
    ::kill(process, SIGKILL);
    ::waitpid(process, nullptr, 0);
    CHECK(fs::exists(directory / ".lock"));
    CHECK(lock().empty());
    CHECK(fs::is_empty(directory.path()));
    for (const int end : ready) ::close(end);
}

TEST_CASE("what cannot be written or read is named with the reason", "[file_io]") {
    const TempDir directory;
    CHECK(error_of(directory, [&] { write_file_atomically(directory / "no/a.json", "x"); }) ==
          "no/a.json: cannot write the file: No such file or directory; create the directory first");
    CHECK(error_of(directory, [&] { read_file(directory / "a.json"); }) ==
          "a.json: cannot open the file: No such file or directory");
    fs::create_directory(directory / "folder");
    CHECK(error_of(directory, [&] { read_file(directory / "folder"); }) == "folder: is a directory, a file is needed");
    CHECK(error_of(directory, [&] { write_file_atomically(directory / "folder", "x"); }) ==
          "folder: cannot write the file: Is a directory");
    CHECK(error_of([] { read_file("/dev/zero", 10000); }) ==
          "/dev/zero: is larger than 10000 bytes, which is more than a file of this kind can be");
    CHECK(std::distance(fs::directory_iterator(directory.path()), {}) == 1);
    directory.write("file", "x");
    CHECK(error_of(directory, [&] { make_directories(directory / "file"); }) ==
          "file: is a file, and a directory is wanted here");
}
