#include "llmc/core/error.h"

#include "test/catch.h"

using llmc::Error;

TEST_CASE("names from files do not command the terminal", "[error]") {
    CHECK(Error("a\x1B[2Jb\rc\td\ne\x7F").what() == std::string("a?[2Jb?c\td\ne?"));
    CHECK(Error("caf\xC3\xA9 \xC2\x9B \xC2\xA0 \xC2").what() == std::string("caf\xC3\xA9 ? \xC2\xA0 \xC2"));
}
