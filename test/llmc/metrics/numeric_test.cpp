// Which number a text gives as its answer.
#include "llmc/metrics/numeric.h"

#include "test/catch.h"

using namespace llmc;

TEST_CASE("the number behind #### is the answer, else the last one", "[metrics]") {
    CHECK(answer_number("12 and 30 make 42\n#### 42") == "42");
    CHECK(answer_number("####42") == "42");
    CHECK(answer_number("#### $1,234.50 dollars and 3 cents") == "1234.5");
    CHECK(answer_number("#### 7\n\nQuestion: what is 2 + 3?\n#### 5") == "7");  // a model that goes on asking
    CHECK(answer_number("#### none\n#### 8") == "8");
    CHECK(answer_number("we have 3, then 9\n####") == "9");  // nothing behind the mark
    CHECK(answer_number("first 3, then 9.") == "9");
    CHECK_FALSE(answer_number("no number at all, - $ . ,").has_value());
    CHECK_FALSE(answer_number("").has_value());
}

TEST_CASE("numbers that are equal have one form", "[metrics]") {
    CHECK(answer_number("1,234,567") == "1234567");
    CHECK(answer_number("1234567.0") == "1234567");
    CHECK(answer_number("007") == "7");
    CHECK(answer_number("0.50") == "0.5");
    CHECK(answer_number(".5") == "0.5");
    CHECK(answer_number("5.") == "5");
    CHECK(answer_number("it is 5.00.") == "5");
    CHECK(answer_number("-0") == "0");
    CHECK(answer_number("-0.00") == "0");
    CHECK(answer_number("000") == "0");
    CHECK(answer_number("99999999999999999999999999.10") == "99999999999999999999999999.1");
}

TEST_CASE("signs, units and separators around a number", "[metrics]") {
    CHECK(answer_number("-5") == "-5");
    CHECK(answer_number("\xE2\x88\x92"
                        "5") == "-5");  // U+2212
    CHECK(answer_number("-$5") == "-5");
    CHECK(answer_number("$-5") == "-5");
    CHECK(answer_number("(-5)") == "-5");
    CHECK(answer_number("= -1,000.25%") == "-1000.25");
    CHECK(answer_number("10-5") == "5");
    CHECK(answer_number("x-5") == "5");
    CHECK(answer_number("(3)-5") == "5");
    CHECK(answer_number("pages 3\xE2\x88\x92"
                        "5") == "5");
    CHECK(answer_number("18km") == "18");
    CHECK(answer_number("50%") == "50");
    CHECK(answer_number("\xE2\x82\xAC"
                        "20") == "20");
    CHECK(answer_number("**42**") == "42");
    CHECK(answer_number("1, 2, 3") == "3");
    CHECK(answer_number("1,2") == "2");         // no group of three
    CHECK(answer_number("1234,567") == "567");  // no leading group of at most three
    CHECK(answer_number("12,3456") == "3456");  // a group of four is none
    CHECK(answer_number("1.2.3") == "3");       // a version, not a number: its last part
    CHECK(answer_number("3/4") == "4");
}
