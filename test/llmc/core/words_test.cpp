#include "llmc/core/words.h"

#include "test/catch.h"

using namespace llmc;

TEST_CASE("words are joined as a sentence lists them", "[words]") {
    CHECK(join({}).empty());
    CHECK(join({"a"}, ", ", " or ") == "a");
    CHECK(join({"a", "b"}) == "a, b");
    CHECK(join({"a", "b", "c"}, ", ", " or ") == "a, b or c");
}

TEST_CASE("white space around a text goes, within it stays", "[words]") {
    CHECK(trim(" \t a b\r\n") == "a b");
    CHECK(trim("a") == "a");
    CHECK(trim(" \n").empty());
    CHECK(trim("").empty());
}
