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
    CHECK(show_tokens(examples, 1, text) ==
          "example 4: 5 tokens, 3 of them in the loss\n"
          "     0       1    \"<s>\"\n"
          "     1      10    \" a\\\"\\\\\\n\\t\"\n"
          "     2      11  * \"\xC3\xA9\\xC3\"\n"
          "     3      12  * \"\\x00\\x7F\"  label 13 \"other\"\n"
          "     4       2  * \"</s>\"\n");
    CHECK(show_tokens(examples, 5, text).find("example 5: 2 tokens, 1 of them in the loss\n") != std::string::npos);
    CHECK(show_tokens(examples, 0, text) == "");
    CHECK(show_tokens(examples, -1, text) == "");
}
