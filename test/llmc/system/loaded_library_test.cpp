#include "llmc/system/loaded_library.h"

#include <sys/resource.h>

#include "llmc/system/memory_limits.h"
#include "test/catch.h"
#include "test/files.h"

TEST_CASE("a function is found in a library that is loaded for it", "[loaded_library]") {
    const auto version = reinterpret_cast<const char* (*)()>(llmc::find_function("libz.so.1", "zlibVersion", ""));
    CHECK(version()[0] == '1');
}

TEST_CASE("a library that is not there, or is another version, is named", "[loaded_library]") {
    CHECK(test::error_of([] { llmc::find_function("libnowhere.so.1", "f", "install it, or go without"); }) ==
          "libnowhere.so.1 cannot be loaded (libnowhere.so.1: cannot open shared object file: No such file or "
          "directory); install it, or go without");
    CHECK(test::error_of([] { llmc::find_function("libm.so.6", "nothing", ""); }) ==
          "libm.so.6 has no function nothing; this program was built for another version of it");
}

TEST_CASE("a library is not loaded where RLIMIT_AS leaves little room", "[loaded_library]") {
    rlimit before{};
    REQUIRE(::getrlimit(RLIMIT_AS, &before) == 0);
    const auto limit_to = [&](int64_t bytes) {
        const rlimit limit{static_cast<rlim_t>(bytes), before.rlim_max};
        REQUIRE(::setrlimit(RLIMIT_AS, &limit) == 0);
    };
    constexpr int64_t kPlenty = int64_t{1} << 62, kLittle = int64_t{512} << 20;
    limit_to(kPlenty);
    limit_to(kPlenty - llmc::address_space_room() + kLittle);
    const std::string error = test::error_of([] { llmc::find_function("libnowhere.so.1", "f", ""); });
    REQUIRE(::setrlimit(RLIMIT_AS, &before) == 0);
    CHECK_THAT(error, Catch::Matchers::StartsWith(
                          "libnowhere.so.1 may need 1.00 GiB of address space, but RLIMIT_AS leaves 51"));
    CHECK_THAT(error, Catch::Matchers::EndsWith(" MiB; raise it (ulimit -v)"));
}
