#include "llmc/core/utf8.h"

#include "test/catch.h"

using namespace llmc;

TEST_CASE("UTF-8 is what RFC 3629 says", "[tokenizer][utf8]") {
    // The first and the last character of every length, and the neighbours of the surrogates.
    for (const char* good : {"", "a", "\x7F", "\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xEE\x80\x80",
                             "\xEF\xBF\xBF", "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF", "a\xC3\xA9z"}) {
        INFO(good);
        CHECK(find_invalid_utf8(good) == std::string_view::npos);
    }
    // Stray continuations, overlong forms, surrogates, beyond U+10FFFF, cut short.
    for (const char* bad :
         {"\x80", "\xBF", "\xC0\x80", "\xC1\xBF", "\xC2", "\xC2z", "\xE0\x9F\xBF", "\xE1\x80", "\xED\xA0\x80",
          "\xF0\x8F\xBF\xBF", "\xF1\x80\x80", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF"}) {
        INFO(bad);
        CHECK(find_invalid_utf8(bad) == 0);
        CHECK(find_invalid_utf8(std::string("\xC3\xA9") + bad) == 2);
    }
}

TEST_CASE("ill-formed UTF-8 becomes one U+FFFD per maximal subpart", "[tokenizer][utf8]") {
    // The example of the Unicode Standard, section 3.9, table 3-8 and its neighbours: what Python and Rust do as well.
    std::string bytes = "\x61\xF1\x80\x80\xE1\x80\xC2\x62\x80\x63\x80\xBF\x64";
    std::string text;
    move_utf8_lossy(bytes, text, true);
    CHECK(text == "a\uFFFD\uFFFD\uFFFDb\uFFFDc\uFFFD\uFFFDd");
    CHECK(bytes.empty());

    // In parts: the beginning of a character waits for its end, unless there is none.
    text.clear();
    for (const char byte : std::string("\xF0\x9F\x98\x80\xE2\x82")) {
        bytes += byte;
        move_utf8_lossy(bytes, text, false);
        CHECK(find_invalid_utf8(text) == std::string::npos);
    }
    CHECK(text == "\U0001F600");
    CHECK(bytes == "\xE2\x82");
    move_utf8_lossy(bytes, text, true);
    CHECK(text == "\U0001F600\uFFFD");
}
