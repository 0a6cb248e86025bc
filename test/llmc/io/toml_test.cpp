#include "llmc/io/toml.h"

#include "test/catch.h"
#include "test/files.h"

TEST_CASE("a file without end is no file of options", "[toml]") {
    CHECK(test::error_of([] {
              llmc::read_toml("/dev/zero");
          }).find("/dev/zero:1: the line is longer than 256.00 KiB") == 0);
}
