#include "llmc/core/markup.h"

#include "test/catch.h"

using llmc::escape_markup;

TEST_CASE("what would be markup is escaped", "[markup]") {
    CHECK(escape_markup("<a href='x'>\"&\"</a>") == "&lt;a href=&#39;x&#39;&gt;&#34;&amp;&#34;&lt;/a&gt;");
    CHECK(escape_markup("gr\u00fc\u00df \U0001F600\n\t") == "gr\u00fc\u00df \U0001F600\n\t");
    CHECK(escape_markup(std::string("a\x01") + '\0' + "\r") == "a???");
    CHECK(escape_markup("\xff(\xc3<\xe2\x82") == "\uFFFD(\uFFFD&lt;\uFFFD");
    CHECK(escape_markup("").empty());
}
