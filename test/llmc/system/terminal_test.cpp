// What a person sees: lines that fit the terminal, a live line, figures. The terminals are pseudo-terminals.
#include "llmc/system/terminal.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "test/catch.h"
#include "test/environment.h"
#include "test/files.h"

using namespace llmc;
namespace fs = std::filesystem;
using test::fresh_folder;
using test::Variable;

namespace {

// A terminal of so many columns; read() gives what was written to it.
class PseudoTerminal {
  public:
    explicit PseudoTerminal(int columns) : master_(::posix_openpt(O_RDWR | O_NOCTTY)) {
        REQUIRE(master_ >= 0);
        REQUIRE(::grantpt(master_) == 0);
        REQUIRE(::unlockpt(master_) == 0);
        out_ = std::fopen(::ptsname(master_), "w");
        REQUIRE(out_ != nullptr);
        resize(columns);
        termios mode{};
        ::tcgetattr(::fileno(out_), &mode);
        ::cfmakeraw(&mode);  // what is read is what was written
        ::tcsetattr(::fileno(out_), TCSANOW, &mode);
    }
    ~PseudoTerminal() {
        std::fclose(out_);
        ::close(master_);
    }
    PseudoTerminal(const PseudoTerminal&) = delete;
    PseudoTerminal& operator=(const PseudoTerminal&) = delete;

    void resize(int columns) {
        winsize size{};
        size.ws_row = 24;
        size.ws_col = static_cast<unsigned short>(columns);
        REQUIRE(::ioctl(::fileno(out_), TIOCSWINSZ, &size) == 0);
    }
    std::FILE* file() { return out_; }
    // What was written since the last call. The kernel hands it over piece by piece.
    std::string read() {
        std::string text;
        pollfd readable{master_, POLLIN, 0};
        while (::poll(&readable, 1, /*milliseconds=*/100) == 1 && (readable.revents & POLLIN)) {
            char piece[4096];
            const ssize_t size = ::read(master_, piece, sizeof piece);
            if (size <= 0) break;
            text.append(piece, static_cast<size_t>(size));
        }
        return text;
    }

  private:
    int master_;
    std::FILE* out_ = nullptr;
};

}  // namespace

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

TEST_CASE("one of a thing is not several", "[terminal]") {
    CHECK(counted(0, "step") == "0 steps");
    CHECK(counted(1, "step") == "1 step");
    CHECK(counted(1234, "step") == "1,234 steps");
}

TEST_CASE("a file gets plain lines: no live line, no escape codes", "[terminal]") {
    const fs::path path = fresh_folder("terminal") / "out.txt";
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

TEST_CASE("text breaks between words", "[terminal]") {
    CHECK(wrap("one two three", 7) == "one two\nthree");
    CHECK(wrap("one two three", 8) == "one two\nthree");
    CHECK(wrap("one two three", 6) == "one\ntwo\nthree");
    CHECK(wrap("one two three", 13) == "one two three");
    CHECK(wrap("one two three", 0) == "one two three");
    CHECK(wrap("a /path/that/is/longer/than/a/line b", 8) == "a\n/path/that/is/longer/than/a/line\nb");
    CHECK(wrap("  in the first line", 12, 3) == "  in the\n     first\n     line");
    CHECK(wrap("  of  three  columns that go on", 24, 3) == "  of  three  columns\n      that go on");
    CHECK(wrap("  of  two columns that go on", 24, 3) == "  of  two columns that\n      go on");
    CHECK(wrap("a very long first column  b", 18, 3) == "a very long first\n   column  b");
    CHECK(wrap("a b\n\nc d e\n", 4, 1) == "a b\n\nc d\n e\n");
    CHECK(wrap("\xC3\xA4\xC3\xB6\xC3\xBC \xC3\x9F", 5) == "\xC3\xA4\xC3\xB6\xC3\xBC \xC3\x9F");  // five characters
    CHECK(wrap("", 5).empty());
    CHECK(wrap("a   ", 9) == "a   ");
    CHECK(cut("abc", 2) == "ab");
    CHECK(cut("abc", 3) == "abc");
    CHECK(cut("\xC3\xA4\xC3\xB6", 1) == "\xC3\xA4");
}

TEST_CASE("a terminal's lines break at its width, whatever it is now", "[terminal]") {
    PseudoTerminal screen(20);
    const Variable term("TERM", "dumb");  // it has no live line, but a width
    Terminal terminal(screen.file(), /*quiet=*/false);
    CHECK_FALSE(terminal.live());
    terminal.line("loss, perplexity and accuracy");
    CHECK(screen.read() == "loss, perplexity and\n  accuracy\n");
    terminal.table("options", {{"a", "1"}, {"longer", "in the second column"}});
    CHECK(screen.read() == "options\n  a       1\n  longer  in the\n          second\n          column\n");
    terminal.unbroken_line("./train_quaff generate --model DIR");
    CHECK(screen.read() == "./train_quaff generate --model DIR\n");
    screen.resize(30);
    terminal.line("loss, perplexity and accuracy");
    CHECK(screen.read() == "loss, perplexity and accuracy\n");
    screen.resize(20);
    terminal.be_plain();
    terminal.line("loss, perplexity and accuracy");
    CHECK(screen.read() == "loss, perplexity and accuracy\n");
}

TEST_CASE("the live line is cut, drawn over, and gone before the next line", "[terminal]") {
    PseudoTerminal screen(10);
    const Variable term("TERM", "xterm");
    Terminal terminal(screen.file(), /*quiet=*/false);
    CHECK(terminal.live());
    terminal.status("0123456789");
    CHECK(screen.read() == "\r\x1B[K012345678");
    terminal.line("done");
    CHECK(screen.read() == "\r\x1B[Kdone\n");
    terminal.phase("said by the live line");
    CHECK(screen.read().empty());
    Terminal quiet(screen.file(), /*quiet=*/true);
    quiet.status("0123");
    quiet.line("left out");
    quiet.table("left out", {{"a", "b"}});
    CHECK(screen.read().empty());
}

TEST_CASE("a warning breaks at the width of stderr's terminal", "[terminal]") {
    PseudoTerminal screen(20);
    std::fflush(stderr);
    const int saved = ::dup(STDERR_FILENO);
    ::dup2(::fileno(screen.file()), STDERR_FILENO);
    Terminal(screen.file(), /*quiet=*/true).warn("the disk is nearly full");
    ::dup2(saved, STDERR_FILENO);
    ::close(saved);
    CHECK(screen.read() == "note: the disk is\n      nearly full\n");
}

TEST_CASE("work of known length shows its count and the time that is left", "[terminal]") {
    PseudoTerminal screen(80);
    const Variable term("TERM", "xterm");
    Terminal terminal(screen.file(), /*quiet=*/false);
    ProgressLine progress(terminal);
    progress.show("evaluating", 10, 40);
    CHECK(screen.read() == "\r\x1B[Kevaluating  [#######.......................]  10/40");
    progress.show("evaluating", 20, 40);
    // Ten took what read() did, a little over 100 ms: so will twice ten. On a busy machine it may be seconds.
    CHECK(screen.read().starts_with("\r\x1B[Kevaluating  [###############...............]  20/40  ETA "));
    progress.show("calibrating", 5, 40);  // another work has no pace yet
    CHECK(screen.read().ends_with("5/40"));
}

TEST_CASE("a line of progress fits the width", "[terminal]") {
    CHECK(progress_text("evaluating", 20, 40, 65, 40) == "evaluating  [###....]  20/40  ETA 1m05s");
    CHECK(progress_text("evaluating", 20, 40, 65, 30) == "evaluating  20/40  ETA 1m05s");
    CHECK(progress_text("evaluating", 0, 40, -1, 80) == "evaluating  [..............................]  0/40");
    CHECK(progress_text("evaluating", 0, 40, -1, 0) == progress_text("evaluating", 0, 40, -1, 200));
}

TEST_CASE("standard files that were closed are open, on /dev/null", "[terminal]") {
    const pid_t child = ::fork();
    if (child == 0) {
        for (int file = 0; file <= 2; ++file) ::close(file);
        open_standard_files();
        bool open = true;
        for (int file = 0; file <= 2; ++file) open = open && ::fcntl(file, F_GETFD) != -1;
        ::_exit(open && ::write(1, "x", 1) == 1 ? 0 : 1);
    }
    int status = -1;
    ::waitpid(child, &status, 0);
    CHECK(status == 0);
}
