#include "quaff/cli/help.h"

#include <algorithm>
#include <regex>
#include <sstream>

#include "test/catch.h"
#include "test/quaff/cli/command_line.h"

using namespace quaff;
using namespace quaff::cli;
using namespace command_line;
using llmc::concat;

namespace {

// Joins the lines that were broken.
std::string unbroken(const std::string& text) {
    return std::regex_replace(text, std::regex("\n {3,}"), " ");
}

}  // namespace

TEST_CASE("--help-all lists what the verb uses and nothing else", "[options]") {
    const auto help = [](const std::string& verb) { return parse({verb, "--help-all"}).help; };
    for (const VerbInfo& verb : kVerbs) {
        std::istringstream lines(help(verb.name));
        for (std::string line; std::getline(lines, line);) {
            CAPTURE(verb.name, line);
            CHECK(line.size() <= 100);
        }
        CHECK(mentions(unbroken(help("train")), concat("  ", verb.name, " ")));
        CHECK(mentions(unbroken(help("train")), verb.does));
    }
    // What a verb's help lists it takes, and what it does not list has no effect.
    for (const char* verb : {"train", "calibrate", "eval", "generate", "merge", "tokenize", "info"}) {
        const std::string listed = help(verb);
        CAPTURE(verb);
        for (const auto& [name, value] : std::vector<std::pair<std::string, std::string>>{{"adapter", "a"},
                                                                                          {"lora-r", "2"},
                                                                                          {"batch-size", "2"},
                                                                                          {"prompt", "p"},
                                                                                          {"outliers", "o"},
                                                                                          {"out", "d"},
                                                                                          {"eval-steps", "1"},
                                                                                          {"text", "t"},
                                                                                          {"method", "quaff"},
                                                                                          {"threads", "1"},
                                                                                          {"scale-momentum", "0.5"}}) {
            CAPTURE(name);
            std::vector<std::string> arguments = {verb, "--data", "d", "--" + name, value};
            const auto add_needed = [&](const std::string& of, const char* option) {
                if (verb == of && name != option) arguments.insert(arguments.end(), {std::string("--") + option, "x"});
            };
            add_needed("generate", "prompt");
            add_needed("merge", "adapter");
            if (name == "text") arguments.erase(arguments.begin() + 1, arguments.begin() + 3);  // one or the other
            const std::vector<std::string> unused = parse(arguments).unused;
            const bool is_unused = std::ranges::any_of(
                unused, [&](const std::string& told) { return told == name || told == name + " without --plan"; });
            CHECK(mentions(listed, "  --" + name + " ") != is_unused);
        }
    }
    CHECK(help("info").starts_with("train_quaff info [PATH] [options]: "));
    CHECK(mentions(help("info"), "\n  PATH "));
    CHECK(help("eval").starts_with("train_quaff eval [options]: "));
    CHECK_FALSE(mentions(help("eval"), "PATH"));
    CHECK(parse({"--help-all"}).help == help("train"));
    CHECK(mentions(help("train"), "\nadapters:\n  --lora-r N"));
    CHECK_FALSE(mentions(help("merge"), "adapters:"));  // no heading without an option
    CHECK(mentions(unbroken(help("tokenize")), "text, of which each line is tokenised; -: standard input"));
    CHECK_FALSE(mentions(help("tokenize"), ".jsonl"));
    CHECK(mentions(unbroken(help("calibrate")), "examples in .jsonl, .json, .csv or .tsv, also .gz; "));
}

TEST_CASE("--help-all shows what an option is when it is not given", "[options]") {
    const auto line = [](const std::string& verb, const std::string& option) {
        const std::string help = parse({verb, "--help-all"}).help;
        const size_t at = help.find("\n  --" + option + " ");
        REQUIRE(at != help.npos);
        const size_t end = std::min(help.find("\n  -", at + 1), help.find("\n\n", at + 1));
        return unbroken(help.substr(at, end - at));
    };
    CHECK(line("train", "out").ends_with("[out/<model>-<method>]"));
    CHECK(line("merge", "out").ends_with("[out/<model>-merged]"));
    CHECK(parse({"merge", "--model", "m", "--adapter", "a"}).options.out == "out/m-merged");
    CHECK(line("calibrate", "outliers").ends_with("[outlier/<strategy><threshold>_<data>_<model>.json]"));
    CHECK(line("train", "outliers").ends_with("to read"));
    CHECK(line("train", "method").ends_with("[quaff]"));
    for (const char* verb : {"eval", "generate"})
        CHECK(mentions(line(verb, "method"), "the adapter's own; else quaff where --outliers or --cal-data is given"));
    CHECK(line("train", "cal-data").ends_with("; else the training data"));
    for (const char* verb : {"calibrate", "eval"}) CHECK(line(verb, "cal-data").ends_with("; else --data"));
    CHECK_FALSE(mentions(line("generate", "cal-data"), "else"));
}

TEST_CASE("--help fits a screen, has the common options, and names --help-all", "[options]") {
    for (const VerbInfo& verb : kVerbs) {
        CAPTURE(verb.name);
        const std::string help = parse({verb.name, "--help"}).help, all = parse({verb.name, "--help-all"}).help;
        CHECK(std::ranges::count(help, '\n') <= 24);
        CHECK(mentions(help, concat("train_quaff ", verb.name, " --help-all: all options")));
        std::istringstream lines(help);
        int options = 0;
        for (std::string line; std::getline(lines, line);) {
            CAPTURE(line);
            CHECK(line.size() <= 80);
            if (!line.starts_with("  --")) continue;
            ++options;
            CHECK(mentions(all, "\n" + line.substr(0, line.find(' ', 4))));
        }
        CHECK(options >= 3);
    }
    const std::string train = parse({"--help"}).help;
    CHECK(train == parse({"help"}).help);
    CHECK(train == parse({"train", "--help"}).help);
    CHECK(mentions(train, "\n  --learning-rate X "));
    CHECK_FALSE(mentions(train, "--adam-beta1"));
    // A description ends before what would be cut off.
    CHECK(mentions(unbroken(parse({"eval", "--help"}).help), "of each example as a JSON line\n"));
}
