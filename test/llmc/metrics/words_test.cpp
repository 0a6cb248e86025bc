// Words as lm-evaluation-harness counts them.
#include "llmc/metrics/words.h"

#include "test/catch.h"

using llmc::count_words;

// The right values are Python's len(re.split(r"\s+", text)).
TEST_CASE("words are the pieces between runs of white space", "[metrics]") {
    CHECK(count_words("one two  three\n\nfour") == 4);
    CHECK(count_words("one") == 1);
    CHECK(count_words("") == 1);
    CHECK(count_words(" = Title = \n") == 5);
    CHECK(count_words("no\xC2\xA0"
                      "break\xE3\x80\x80wide\x1Cseparator") == 4);
    CHECK(count_words("zero\xE2\x80\x8Bwidth") == 1);
    CHECK(count_words("\xFF \xC2") == 2);
}
