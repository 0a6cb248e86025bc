#include "llmc/system/child_process.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <csignal>

#include "llmc/core/error.h"
#include "test/catch.h"
#include "test/files.h"

using namespace llmc;

namespace {

struct Shell {
    test::TempDir folder;
    ChildFiles files = {folder / "out", folder / "err"};

    ChildEnd run(
        const std::string& script, const std::function<bool()>& wants_stop = [] { return false; }) const {
        return run_child({"/bin/sh", "-c", script}, files, wants_stop);
    }
    std::string out() const { return test::read(files.out); }
    std::string err() const { return test::read(files.err); }
};

}  // namespace

TEST_CASE("a child's status and what it wrote come back", "[child_process]") {
    const Shell shell;
    CHECK(shell.run("echo one; echo noise >&2").succeeded());
    CHECK(shell.out() == "one\n");
    const ChildEnd failed = shell.run("echo two; echo more >&2; exit 3");
    CHECK(failed.status == 3);
    CHECK(failed.signal == 0);
    CHECK_FALSE(failed.succeeded());
    CHECK(shell.out() == "two\n");
    CHECK(shell.err() == "noise\nmore\n");
    CHECK(shell.run("cat").succeeded());  // there is nothing to read
    CHECK(shell.out().empty());
}

TEST_CASE("a signal that ends a child is told, and a program that is not there", "[child_process]") {
    const Shell shell;
    CHECK(shell.run("kill -KILL $$").signal == SIGKILL);
    CHECK(shell.run("exit 127").status == 127);
    CHECK_THROWS_WITH(run_child({"/no/such/program"}, shell.files, [] { return false; }),
                      "cannot run /no/such/program: No such file or directory");
    CHECK_THROWS_WITH(run_child({shell.folder.path()}, shell.files, [] { return false; }),
                      Catch::Matchers::EndsWith(": Permission denied"));
    CHECK_THROWS_WITH(run_child({"/bin/true"}, {shell.folder / "none/out", shell.files.err}, [] { return false; }),
                      Catch::Matchers::ContainsSubstring("none/out: cannot open"));
}

TEST_CASE("a process without standard files runs a child that has them", "[child_process]") {
    const Shell shell;
    std::array<int, 3> saved{};
    for (int fd = 0; fd < 3; ++fd) {
        saved[static_cast<size_t>(fd)] = ::fcntl(fd, F_DUPFD_CLOEXEC, 3);
        ::close(fd);
    }
    ChildEnd end;
    std::string error;
    try {
        end = shell.run("cat && echo one && echo noise >&2");
    } catch (const Error& caught) {
        error = caught.what();
    }
    for (int fd = 0; fd < 3; ++fd) {
        ::dup2(saved[static_cast<size_t>(fd)], fd);
        ::close(saved[static_cast<size_t>(fd)]);
    }
    CHECK(error.empty());
    CHECK(end.succeeded());
    CHECK(shell.out() == "one\n");
    CHECK(shell.err() == "noise\n");
}

TEST_CASE("a process that ignores the end of its children still learns their status", "[child_process]") {
    const Shell shell;
    struct sigaction before {
    }, after{}, ignore{};
    ignore.sa_handler = SIG_IGN;
    ::sigaction(SIGCHLD, &ignore, &before);
    CHECK(shell.run("exit 3").status == 3);
    ::sigaction(SIGCHLD, &before, &after);
    CHECK(after.sa_handler == SIG_IGN);  // as it was
}

TEST_CASE("the wish to stop reaches a child once, as SIGTERM", "[child_process]") {
    const Shell shell;
    CHECK(shell.run("sleep 600", [] { return true; }).signal == SIGTERM);
    // The child says when it is ready, and takes its time to stop.
    const auto is_ready = [&] { return shell.out() == "ready\n"; };
    const ChildEnd end =
        shell.run("trap 'echo stopping; exit 5' TERM; echo ready; while :; do sleep 0.01; done", is_ready);
    CHECK(end.status == 5);
    CHECK(shell.out() == "ready\nstopping\n");
}

TEST_CASE("a shell takes a line apart into the words it was made of", "[child_process]") {
    CHECK(shell_line({"./train_quaff", "eval", "--data", "a/b-1.jsonl"}) == "./train_quaff eval --data a/b-1.jsonl");
    CHECK(shell_line({"a b", "", "it's", "$x", "*"}) == R"('a b' '' 'it'\''s' '$x' '*')");
    const Shell shell;
    REQUIRE(shell.run(shell_line({"printf", "%s|", "a b", "", "it's", "$x", "*", "\\n"})).succeeded());
    CHECK(shell.out() == "a b||it's|$x|*|\\n|");
}
