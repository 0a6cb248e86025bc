#include "llmc/tokenizer/utf8.h"

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
