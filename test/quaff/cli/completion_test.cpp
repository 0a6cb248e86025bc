#include "quaff/cli/completion.h"

#include <cstdlib>
#include <string>

#include "quaff/cli/man_page.h"
#include "quaff/cli/option_table.h"
#include "test/catch.h"
#include "test/quaff/cli/command_line.h"

using namespace quaff::cli;
using namespace command_line;
using llmc::concat;

namespace {

// What the completion of bash offers for the last of `words`.
std::string offered(const std::string& words) {
    const test::TempDir folder;
    const auto script = folder.write("completion", bash_completion());
    const auto out = folder / "out";
    const std::string command = concat(
        "bash -c 'source ", script.string(), "; COMP_WORDS=(", words,
        "); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _train_quaff; printf \"%s \" \"${COMPREPLY[@]}\"' >", out.string());
    REQUIRE(std::system(command.c_str()) == 0);
    return test::read(out);
}

// `text` with one backslash fewer before each dash.
std::string as_read(const std::string& text) {
    std::string read;
    for (size_t i = 0; i < text.size(); ++i)
        if (text[i] != '\\' || i + 1 == text.size() || text[i + 1] != '-') read += text[i];
    return read;
}

}  // namespace

TEST_CASE("completion and manual have every verb and every option", "[options]") {
    const std::string bash = parse({"completion", "bash"}).help, zsh = parse({"completion", "zsh"}).help;
    const std::string manual = as_read(parse({"man"}).help);
    CHECK(bash == bash_completion());
    CHECK(zsh == zsh_completion());
    for (const VerbInfo& verb : kVerbs) {
        CAPTURE(verb.name);
        CHECK(mentions(bash, concat("\n        ", verb.name, ") words='--help ")));
        CHECK(mentions(zsh, concat("\n        (", verb.name, ") options=(\n")));
        CHECK(mentions(manual, concat("\n\\fB", verb.name, "\\fR\n")));
        const auto options_of = [&](const std::string& text, const std::string& start, const char* end) {
            const size_t at = text.find(start);
            REQUIRE(at != text.npos);
            return text.substr(at, text.find(end, at) - at);
        };
        const std::string in_bash = options_of(bash, concat("\n        ", verb.name, ") words='"), ";;");
        const std::string in_zsh = options_of(zsh, concat("\n        (", verb.name, ") options=("), "\n        )");
        CommandLine line(verb.verb);
        for (const Row& row : option_table(line)) {
            CAPTURE(row.name);
            const bool is_taken = row.used_by & takes(verb.verb);
            CHECK((mentions(in_bash, concat(" --", row.name, " ")) ||
                   mentions(in_bash, concat(" --", row.name, "'"))) == is_taken);
            CHECK(mentions(in_zsh, concat("--", row.name, "[")) == is_taken);
            CHECK(mentions(manual, concat("\n\\fB--", row.name, "\\fR")));
        }
    }
    CHECK(complaint({"completion", "fish"}) == "there is completion for bash and zsh, not for fish");
    CHECK(complaint({"completion"}) == "wrong usage: it is train_quaff completion bash, or zsh");
    CHECK(complaint({"man", "eval"}) == "wrong usage: it is train_quaff man");
}

TEST_CASE("bash accepts the completion, which offers verbs, options, words and files", "[options]") {
    CHECK(offered("train_quaff e") == "eval ");
    CHECK(offered("train_quaff eval --dev") == "--device ");
    CHECK(offered("train_quaff merge --dev") == " ");
    CHECK(offered("train_quaff --device cu") == "cuda ");
    CHECK(offered("train_quaff --device = cu") == "cuda ");
    CHECK(offered("train_quaff --epochs 1") == " ");
    CHECK(offered("train_quaff --epochs 1 --learning") == "--learning-rate ");
    CHECK(offered("train_quaff --resume --learning") == "--learning-rate ");  // a value may lack
    CHECK(offered("train_quaff completion z") == "zsh ");
    CHECK(offered("train_quaff --data dev/demo/tr") == "dev/demo/train.jsonl ");
    CHECK(offered("train_quaff --model dev/demo/") == "dev/demo/model ");
}

TEST_CASE("the manual is one that groff reads without a warning", "[options]") {
    if (std::system("command -v groff >/dev/null") != 0) return;  // not among the packages that tests need
    const test::TempDir folder;
    const auto page = folder.write("page.1", man_page());
    CHECK(std::system(concat("groff -man -ww -z ", page.string(), " >", (folder / "told").string(), " 2>&1").c_str()) ==
          0);
    CHECK(test::read(folder / "told").empty());
}
