#include "llmc/tokenizer/regex/python_regex.h"

#include "test/catch.h"
#include "test/files.h"

using namespace llmc;
using test::error_of;
using Extent = PythonRegex::Extent;

namespace {

std::string complaint(const std::string& expression) {
    return error_of([&] { PythonRegex(expression, "a.json: field \"x\"", Extent::whole); });
}

}  // namespace

TEST_CASE("an expression matches as Python's re.match and re.fullmatch do", "[python_regex]") {
    const auto whole = [](const char* expression, const char* text) {
        return PythonRegex(expression, "x", Extent::whole).matches(text);
    };
    CHECK(whole("a|ab", "ab"));  // the first choice is taken back
    CHECK_FALSE(whole("a|b", "ab"));
    CHECK(whole(R"(\d{1,}\.(?:q|k)_proj)", "12.k_proj"));
    CHECK(whole(R"((?P<x>a)(?P=x)\1)", "aaa"));
    CHECK(whole("(?i)Q_PROJ", "q_proj"));
    CHECK(whole(R"((?<=x|y)?a(?!b)[]^-]\.)", "a].") == whole(R"(a[\]^-]\.)", "a]."));
    CHECK(PythonRegex("ab", "x", Extent::front).matches("abc"));
    CHECK_FALSE(PythonRegex("b", "x", Extent::front).matches("abc"));
    CHECK_FALSE(whole("a", ""));
    CHECK(whole("", ""));
}

TEST_CASE("a group that takes no part is told from one that does", "[python_regex]") {
    const PythonRegex regex("a|b", "x", Extent::front, "(?:", R"()(?P<digits>\d)?)");
    CHECK(regex.text() == "a|b");
    CHECK(regex.group("b7", "digits") == "7");
    CHECK_FALSE(regex.group("b", "digits").has_value());
    CHECK_FALSE(regex.group("c7", "digits").has_value());
}

TEST_CASE("what Python does not know or reads otherwise is refused by name", "[python_regex]") {
    const std::string start = "a.json: field \"x\": the regular expression ";
    const auto uses = [&](const std::string& expression, const std::string& what) {
        CHECK(complaint(expression) ==
              start + expression + " uses " + what + ", which is not supported; write it without");
    };
    uses(R"(a\h)", R"(\h)");
    uses(R"(\Qa.b\E)", R"(\Q)");
    uses("(?R)", "(?R");
    uses("(?<name>a)", "(?<");
    uses("(?|a|b)", "(?|");
    uses("(*FAIL)", "(*");
    uses("a{,3}", "{,n} (write {0,n})");
    uses("[[:alpha:]]", "[: in a set");
    CHECK(complaint("(ab){1,999}") == start + "(ab){1,999} repeats a group too many times; write it with * or +");
    CHECK(complaint("[]]").empty());
    CHECK(complaint("[^]a]").empty());
    CHECK(complaint("(a") == start + "(a is not valid: missing closing parenthesis");
    CHECK(complaint("\\") == start + "\\ is not valid: \\ at end of pattern");
    CHECK(complaint(std::string(70'000, 'a')) ==
          "a.json: field \"x\": a regular expression of 70000 characters is more than 65536; write a shorter one");
    CHECK(complaint("(" + std::string(300, 'a')).find(std::string(190, 'a') + ".. is not valid") != std::string::npos);
}

TEST_CASE("a match that would take for ever is given up", "[python_regex]") {
    const PythonRegex regex("(a|a)*c", "--option", Extent::whole);
    CHECK(error_of([&] { regex.matches(std::string(60, 'a') + "cd"); }) ==
          "--option: the regular expression (a|a)*c gave up (match limit exceeded); write a simpler one");
    CHECK(error_of([&] { regex.matches("\xff"); }).starts_with("--option: the regular expression (a|a)*c gave up"));
}
