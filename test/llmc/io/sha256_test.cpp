// Expected digests: FIPS 180-4's examples and `sha256sum`.
#include "llmc/io/sha256.h"

#include "llmc/core/error.h"
#include "test/catch.h"

using namespace llmc;

TEST_CASE("sha256 agrees with the standard's examples", "[sha256]") {
    CHECK(sha256("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    CHECK(sha256("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    CHECK(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
          "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    CHECK(sha256(std::string(1000000, 'a')) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("sha256 of pieces is that of the whole, at every length around a block", "[sha256]") {
    for (size_t length : {55, 56, 57, 63, 64, 65, 119, 120, 128}) {
        const std::string text(length, 'x');
        for (size_t cut = 0; cut <= length; cut += 7) {
            Sha256 digest;
            digest.update(std::string_view(text).substr(0, cut));
            digest.update(std::string_view(text).substr(cut));
            CHECK(digest.finish() == sha256(text));
        }
    }
    CHECK_THROWS_AS(sha256_of_file("no/such/file"), Error);
}
