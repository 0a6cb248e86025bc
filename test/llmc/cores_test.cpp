#include "llmc/cores.h"

#include <fstream>

#include "test/catch.h"
#include "test/files.h"

using namespace llmc;

TEST_CASE("hyper-threads of a core count as one", "[cores]") {
    const test::TempDir folder;
    const auto tell = [&](int cpu, const std::string& siblings) {
        const auto topology = folder.path() / ("cpu" + std::to_string(cpu)) / "topology";
        std::filesystem::create_directories(topology);
        std::ofstream(topology / "thread_siblings_list") << siblings << "\n";
    };
    // Two cores of two threads each, as two makers number them, and one without.
    tell(0, "0,4");
    tell(4, "0,4");
    tell(2, "2-3");
    tell(3, "2-3");
    tell(5, "5");
    CHECK(cores_of({0, 2, 3, 4, 5}, folder.path()) == std::vector<int>{0, 2, 5});
    // Where only the second thread of a core may be used, the core still counts, and once.
    CHECK(cores_of({3, 4}, folder.path()) == std::vector<int>{0, 2});
}

TEST_CASE("CPUs of which nothing is told are cores of their own", "[cores]") {
    const test::TempDir folder;
    CHECK(cores_of({7, 1}, folder.path()) == std::vector<int>{1, 7});
    std::filesystem::create_directories(folder.path() / "cpu1/topology");
    std::ofstream(folder.path() / "cpu1/topology/thread_siblings_list") << "?\n";
    CHECK(cores_of({1, 7}, folder.path()) == std::vector<int>{1, 7});
}

TEST_CASE("this process may use a core", "[cores]") {
    CHECK(!usable_cores().empty());
}
