#include "llmc/core/nf4.h"

#include <cmath>

#include "test/catch.h"

using namespace llmc;

TEST_CASE("every finite 8-bit float is encoded as itself, and others as the nearest", "[nf4]") {
    std::vector<float> values;
    for (int code = 0; code < 256; code++) {
        if ((code & 0x7f) == 0x7f) continue;  // NaN
        const float value = decode_e4m3(static_cast<uint8_t>(code));
        CHECK(encode_e4m3(value) == code);
        values.push_back(value);
    }
    CHECK(decode_e4m3(0x01) == 0x1p-9f);  // the smallest
    CHECK(decode_e4m3(0x07) == 7 * 0x1p-9f);
    CHECK(decode_e4m3(0x08) == 0x1p-6f);  // the smallest with a leading one
    CHECK(decode_e4m3(0x38) == 1.0f);
    CHECK(decode_e4m3(0x7e) == kLargestE4m3);
    CHECK(decode_e4m3(0xfe) == -kLargestE4m3);

    for (float x = -kLargestE4m3; x <= kLargestE4m3; x += 0.37f) {
        const float found = decode_e4m3(encode_e4m3(x));
        float nearest = std::abs(x - found);
        for (const float value : values) nearest = std::min(nearest, std::abs(x - value));
        CHECK(std::abs(x - found) == nearest);
    }
    // Halfway: to the even code.
    CHECK(encode_e4m3(1.0625f) == 0x38);
    CHECK(encode_e4m3(1.1875f) == 0x3a);
    CHECK(encode_e4m3(0.5f * 0x1p-9f) == 0x00);
    CHECK(encode_e4m3(1.5f * 0x1p-9f) == 0x02);
}
