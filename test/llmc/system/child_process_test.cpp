#include "llmc/system/child_process.h"

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
    CHECK(run_child({"/no/such/program"}, shell.files, [] { return false; }).status == 127);
    CHECK_THROWS_WITH(run_child({"/bin/true"}, {shell.folder / "none/out", shell.files.err}, [] { return false; }),
                      Catch::Matchers::ContainsSubstring("none/out: cannot open"));
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
