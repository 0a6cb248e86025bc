#include "llmc/io/text_input.h"

#include <fcntl.h>
#include <unistd.h>

#include <sstream>

#include "test/catch.h"
#include "test/files.h"
#include "test/llmc/io/gzip.h"

using namespace llmc;
using test::gzip;
using Lines = std::vector<std::string>;

namespace {

const std::string kMark = "\xEF\xBB\xBF";

Lines lines_of(const std::string& bytes) {
    const test::TempDir folder;
    return read_lines(folder.write("a.txt", bytes).string());
}

std::string error_of(const std::string& bytes) {
    const test::TempDir folder;
    const std::string path = folder.write("a.txt", bytes).string();
    return test::error_of(folder, [&] { read_lines(path); });
}

// Something that does not pack well, and its lines.
Lines many_lines() {
    Lines lines;
    uint32_t x = 7;
    for (int i = 0; i < 20000; ++i) {
        x = x * 1664525 + 1013904223;
        lines.push_back(std::to_string(x));
    }
    return lines;
}

std::string joined(const Lines& lines) {
    std::string text;
    for (const std::string& line : lines) text += line + "\n";
    return text;
}

}  // namespace

TEST_CASE("lines end in LF or CRLF, and a byte order mark is no part of the first", "[io][text]") {
    CHECK(lines_of("a\nb\r\n\n c\r \n") == Lines{"a", "b", "", " c\r "});
    CHECK(lines_of(kMark + "a\r\nb") == Lines{"a", "b"});
    CHECK(lines_of("") == Lines{});
    CHECK(lines_of(kMark) == Lines{});
    CHECK(lines_of("\n") == Lines{""});
    CHECK(lines_of(std::string("a\0b\n", 4)) == Lines{std::string("a\0b", 3)});
    // Only the start of the text may have a mark.
    CHECK(lines_of("a\n" + kMark + "b") == Lines{"a", kMark + "b"});
}

TEST_CASE("lines around the size of the buffers are whole", "[io][text]") {
    for (const int64_t size : {65534, 65535, 65536, 65537, 131070, 131072, 300000}) {
        const std::string line(size, 'x');
        for (const char* end : {"", "\n", "\r\n"}) {
            CHECK(lines_of(line + end) == Lines{line});
            CHECK(lines_of(line + "\n" + line + end) == Lines{line, line});
        }
    }
}

TEST_CASE("a line that is too long is an error and not all of the memory", "[io][text]") {
    std::istringstream in("short\n" + std::string(200000, 'x'));
    TextLines lines(in, "a.txt", 7, 100000);
    std::string line;
    CHECK(lines.next(line));
    CHECK(lines.where() == "a.txt:7");
    CHECK(test::error_of([&] { lines.next(line); }) ==
          "a.txt:8: the line is longer than 97.66 KiB; are its line ends missing?");
}

TEST_CASE("what gzip packed is unpacked, whatever its name", "[io][text]") {
    const Lines lines = many_lines();
    const std::string packed = gzip(joined(lines));
    REQUIRE(packed.size() > 70000);  // more than one buffer
    CHECK(lines_of(packed) == lines);
    CHECK(lines_of(gzip(kMark + "a\r\nb")) == Lines{"a", "b"});
    CHECK(lines_of(gzip("")) == Lines{});
    // Several members are one text, and zeros may fill up the last block of a tape.
    CHECK(lines_of(gzip("a\nb") + gzip("") + gzip("c\n")) == Lines{"a", "bc"});
    CHECK(lines_of(gzip("a\n") + std::string(1000, '\0')) == Lines{"a"});
}

TEST_CASE("damaged gzip data are told", "[io][text]") {
    const std::string packed = gzip(joined(many_lines()));
    const std::string early = "a.txt: the file ends in the middle of its packed data; copy or download it again";
    for (const size_t size : {size_t{2}, size_t{9}, size_t{15}, packed.size() / 2, packed.size() - 1})
        CHECK(error_of(packed.substr(0, size)) == early);
    std::string damaged = packed;
    damaged[damaged.size() / 2] ^= 0x40;
    CHECK(error_of(damaged).find("a.txt: the packed data are damaged (") == 0);
    damaged = packed;
    damaged[damaged.size() - 6] ^= 1;  // of the checksum
    CHECK(error_of(damaged).find("a.txt: the packed data are damaged (incorrect data check)") == 0);
    CHECK(error_of(gzip("a\n") + "more") == "a.txt: something that is not packed by gzip follows the packed data");
}

TEST_CASE("a gzip bomb is read line by line", "[io][text]") {
    // 256 MiB of one line in 256 KiB: the limit of a line ends it.
    std::string bomb = gzip(std::string(size_t{8} << 20, 'x'));
    std::string many;
    for (int i = 0; i < 32; ++i) many += bomb;
    CHECK(error_of(many) == "a.txt:1: the line is longer than 64.00 MiB; are its line ends missing?");
}

TEST_CASE("what cannot be read as text is told", "[io][text]") {
    for (const char* mark : {"\xFF\xFE", "\xFE\xFF"}) {
        const std::string text =
            concat("a.txt is UTF-16, but must be UTF-8; convert it with: iconv -f UTF-16 -t UTF-8");
        CHECK(error_of(std::string(mark) + std::string("a\0", 2)) == text);
        CHECK(error_of(gzip(std::string(mark) + std::string("a\0", 2))) == text);
    }
    CHECK(error_of("version https://git-lfs.github.com/spec/v1\n").find("a.txt: is a Git LFS pointer") == 0);
    const test::TempDir folder;
    CHECK(test::error_of(folder, [&] { TextInput input((folder / "none").string()); }) ==
          "cannot open none: No such file or directory");
    CHECK(test::error_of([&] { TextInput input(folder.path().string()); }).find("is a directory") != std::string::npos);
}

TEST_CASE("standard input may be packed as well", "[io][text]") {
    const test::TempDir folder;
    const std::string path = folder.write("in", gzip("a\nb\n")).string();
    const int kept = dup(STDIN_FILENO), file = open(path.c_str(), O_RDONLY);
    dup2(file, STDIN_FILENO);
    const Lines lines = read_lines(kStandardInput);
    const std::string name = TextInput(kStandardInput).name();
    dup2(kept, STDIN_FILENO);
    close(kept);
    close(file);
    CHECK(lines == Lines{"a", "b"});
    CHECK(name == "standard input");
}
