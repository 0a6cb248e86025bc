// What of a regular expression is rewritten for PCRE2: sets inside sets lose their brackets.
#include "llmc/tokenizer/regex/oniguruma.h"

#include "test/catch.h"
#include "test/files.h"

using namespace llmc;
using Catch::Matchers::ContainsSubstring;

TEST_CASE("a '-' in a set stays what it is when the sets inside it lose their brackets", "[tokenizer]") {
    const auto translated = [](const std::string& pattern) { return oniguruma_to_pcre2(pattern, "t"); };
    // What Oniguruma matches, as Hugging Face's tokenizers shows it: "-", and no range that is not written as one.
    CHECK(translated("[[a-]c]+") == "[a\\-c]+");
    CHECK(translated("[a[-c]]+") == "[a\\-c]+");
    CHECK(translated("[[ab]-d]+") == "[ab\\-d]+");
    CHECK(translated("[[a]-]") == "[a\\-]");
    CHECK(translated("[^-a]") == "[^\\-a]");
    CHECK(translated("[\\w-]").ends_with("\\-]"));
    CHECK(translated("[a-c-x]") == "[a-c-x]");
    CHECK(translated("a-b[a-c]") == "a-b[a-c]");
    // What Oniguruma refuses as well, or reads in a way of its own.
    for (const char* pattern : {"[\\h-x]", "[\\w-x]", "[[:xdigit:]-x]"})
        CHECK_THAT(test::error_of([&] { translated(pattern); }),
                   ContainsSubstring("a '-' behind a class inside a set"));
    for (const char* pattern : {"[a-[bc]]", "[[ab]-[c]]"})
        CHECK_THAT(test::error_of([&] { translated(pattern); }), ContainsSubstring("a '-' in front of a set"));
}
