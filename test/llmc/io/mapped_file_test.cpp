#include "llmc/io/mapped_file.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test/catch.h"
#include "test/files.h"

using namespace llmc;
using test::error_of;
using test::TempDir;
namespace fs = std::filesystem;

TEST_CASE("a mapped file shows its bytes, also after they were let go", "[mapped_file]") {
    const TempDir directory;
    std::string content(100'000, 'x');
    for (size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>(i * 7);
    const MappedFile file(directory.write("data", content));
    const auto text = [&] {
        return std::string(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
    };
    CHECK(text() == content);
    file.release(file.bytes().subspan(10, 90'000));
    file.release(file.bytes().subspan(99'999, 1));
    CHECK(text() == content);
    CHECK(MappedFile(directory.write("empty", "")).bytes().empty());
}

TEST_CASE("a folder cannot be mapped", "[mapped_file]") {
    const TempDir directory;
    fs::create_directory(directory / "folder");
    CHECK(error_of(directory, [&] { MappedFile(directory / "folder"); }) == "folder: is not a regular file");
}

TEST_CASE("a mapped file that is cut short ends the program with its name", "[mapped_file]") {
    const TempDir directory;
    const fs::path path = directory.write("da\x1Bta", std::string(100'000, 'x')), said = directory / "said";
    const pid_t process = ::fork();
    if (process == 0) {
        ::dup2(::open(said.c_str(), O_WRONLY | O_CREAT, 0600), STDERR_FILENO);
        tell_of_lost_pages();
        const MappedFile file(path);
        fs::resize_file(path, 10);
        ::_exit(static_cast<int>(file.bytes()[50'000]));
    }
    int status = 0;
    REQUIRE(::waitpid(process, &status, 0) == process);
    REQUIRE(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 1);
    CHECK(test::read(said) == "train_quaff: " + (directory / "da?ta").string() +
                                  ": can no longer be read to its end; was it cut short during the run, or is its disk "
                                  "failing?\n");
}
