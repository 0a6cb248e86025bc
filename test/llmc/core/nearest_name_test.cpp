#include "llmc/core/nearest_name.h"

#include "test/catch.h"

using namespace llmc;

TEST_CASE("the nearest name is the one that the fewest changes lead to", "[words]") {
    CHECK(nearest_name("evla", {"train", "eval", "merge"}) == "eval");
    CHECK(nearest_name("xyzzy", {"train", "eval"}).empty());
    CHECK(nearest_name("weigth", {"weight"}, 3) == "weight");
    CHECK(nearest_name("weigth", {"weight"}, 2).empty());
    CHECK(did_you_mean("eval") == "; did you mean eval?");
    CHECK(did_you_mean("").empty());
}
