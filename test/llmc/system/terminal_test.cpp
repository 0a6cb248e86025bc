#include "llmc/system/terminal.h"

#include <cstdio>
#include <filesystem>

#include "test/catch.h"
#include "test/files.h"

using namespace llmc;

TEST_CASE("figures are printed for people", "[terminal]") {
    CHECK(format_duration(7.4) == "7s");
    CHECK(format_duration(59.6) == "1m00s");
    CHECK(format_duration(125) == "2m05s");
    CHECK(format_duration(3725) == "1h02m");
    CHECK(format_duration(-1) == "?");
    CHECK(format_count(0) == "0");
    CHECK(format_count(999) == "999");
    CHECK(format_count(1000) == "1,000");
    CHECK(format_count(-1234567) == "-1,234,567");
    CHECK(progress_bar(0, 10, 4) == "[....]");
    CHECK(progress_bar(5, 10, 4) == "[##..]");
    CHECK(progress_bar(10, 10, 4) == "[####]");
    CHECK(progress_bar(1, 0, 4) == "[....]");
    CHECK(std::stof(format_loss(0.1f)) == 0.1f);
}

TEST_CASE("a file gets plain lines: no live line, no escape codes", "[terminal]") {
    const std::filesystem::path path = test::fresh_folder("terminal") / "out.txt";
    std::FILE* file = std::fopen(path.c_str(), "w");
    {
        Terminal terminal(file, /*quiet=*/false);
        CHECK_FALSE(terminal.live());
        terminal.status("half way");
        terminal.table("options", {{"a", "1"}, {"longer", "2"}});
    }
    {
        Terminal terminal(file, /*quiet=*/true);
        terminal.line("left out");
        terminal.result("kept");
    }
    std::fclose(file);
    CHECK(test::read(path) == "options\n  a       1\n  longer  2\nkept\n");
}

TEST_CASE("one of a thing is not several", "[terminal]") {
    CHECK(counted(0, "step") == "0 steps");
    CHECK(counted(1, "step") == "1 step");
    CHECK(counted(1234, "step") == "1,234 steps");
}
