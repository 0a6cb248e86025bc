#include "llmc/data/show_tokens.h"

#include "test/catch.h"

using namespace llmc;

TEST_CASE("examples are shown token by token, the loss marked", "[data][show_tokens]") {
    const std::vector<Example> examples = {
        {{1, 10, 11, 12, 2}, {1, -100, 11, 13, 2}, 4},
        {{1, 10}, {-100, 10}, 5},
    };
    const auto text = [](int32_t id) -> std::string {
        switch (id) {
            case 1:
                return "<s>";
            case 2:
                return "</s>";
            case 10:
                return " a\"\\\n\t";
            case 11:
                return "\xC3\xA9\xC3";
            case 12:
                return std::string(1, '\0') + "\x7F";
        }
        return "other";
    };
    CHECK(show_tokens(examples, 1, {text}, false) ==
          "example 4: 5 tokens, 3 of them in the loss\n"
          "     0       1    \"<s>\"\n"
          "     1      10    \" a\\\"\\\\\\n\\t\"\n"
          "     2      11  * \"\xC3\xA9\\xC3\"\n"
          "     3      12  * \"\\x00\\x7F\"  label 13 \"other\"\n"
          "     4       2  * \"</s>\"\n");
    CHECK(show_tokens(examples, 5, {text}, false).find("example 5: 2 tokens, 1 of them in the loss\n") !=
          std::string::npos);
    CHECK(show_tokens(examples, 0, {text}, false) == "");
    CHECK(show_tokens(examples, -1, {text}, false) == "");
}

TEST_CASE("the text stands above its tokens, in colour on a terminal", "[data][show_tokens]") {
    const std::vector<Example> examples = {{{1, 10, 11, 2}, {-100, -100, 11, 2}, 0}};
    const auto spelling = [](int32_t id) { return "#" + std::to_string(id); };
    const auto is_special = [](int32_t id) { return id <= 2; };
    const auto pieces = [](std::span<const int32_t>) {
        return std::vector<std::string>{"<s>", "a\n", "b\nc\x1B", "</s>"};
    };
    CHECK(show_tokens(examples, 1, {spelling, is_special, pieces}, false) ==
          "example 0: 4 tokens, 2 of them in the loss\n"
          "  | <s>a\n"
          "  | b\n"
          "  | c\\x1B</s>\n"
          "     0       1    \"#1\"\n"
          "     1      10    \"#10\"\n"
          "     2      11  * \"#11\"\n"
          "     3       2  * \"#2\"\n");
    CHECK(show_tokens(examples, 1, {spelling, is_special, pieces}, true) ==
          "example 0: 4 tokens, 2 of them in the loss\n"
          "  | \x1B[34m<s>\x1B[0ma\n"
          "  | \x1B[32mb\x1B[0m\n"
          "  | \x1B[32mc\\x1B\x1B[0m\x1B[32m</s>\x1B[0m\n"
          "     0       1    \x1B[34m\"#1\"\x1B[0m\n"
          "     1      10    \"#10\"\n"
          "     2      11  * \x1B[32m\"#11\"\x1B[0m\n"
          "     3       2  * \x1B[32m\"#2\"\x1B[0m\n");
}
