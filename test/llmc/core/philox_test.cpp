#include "llmc/core/philox.h"

#include "test/catch.h"

using namespace llmc;

namespace {

void check(PhiloxWords counter, PhiloxKey key, PhiloxWords expected) {
    const PhiloxWords words = philox4x32_10(counter, key);
    CHECK(words.x0 == expected.x0);
    CHECK(words.x1 == expected.x1);
    CHECK(words.x2 == expected.x2);
    CHECK(words.x3 == expected.x3);
}

}  // namespace

TEST_CASE("philox4x32-10 gives the known answers of Random123", "[philox]") {
    // examples/kat_vectors of Random123 1.14: `philox4x32 10`, counter, key, answer.
    check({0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
    check({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff},
          {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
    check({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0},
          {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}
