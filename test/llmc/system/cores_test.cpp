#include "llmc/system/cores.h"

#include <omp.h>
#include <sched.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>

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
    // Two cores of two threads each, numbered as two vendors do, and one core without.
    tell(0, "0,4");
    tell(4, "0,4");
    tell(2, "2-3");
    tell(3, "2-3");
    tell(5, "5");
    CHECK(cores_of({0, 2, 3, 4, 5}, folder.path()) == std::vector<int>{0, 2, 5});
    // If only the second thread of a core may be used, the core still counts, once.
    CHECK(cores_of({3, 4}, folder.path()) == std::vector<int>{0, 2});
}

TEST_CASE("CPUs that the system does not describe are cores of their own", "[cores]") {
    const test::TempDir folder;
    CHECK(cores_of({7, 1}, folder.path()) == std::vector<int>{1, 7});
    std::filesystem::create_directories(folder.path() / "cpu1/topology");
    std::ofstream(folder.path() / "cpu1/topology/thread_siblings_list") << "?\n";
    CHECK(cores_of({1, 7}, folder.path()) == std::vector<int>{1, 7});
}

TEST_CASE("this process may use a core", "[cores]") {
    CHECK(!usable_cores().empty());
}

TEST_CASE("a container's quota of CPU time is counted in whole cores", "[cores]") {
    const test::TempDir root;
    const auto write = [&](const std::string& path, const std::string& text) {
        std::filesystem::create_directories((root.path() / path).parent_path());
        std::ofstream(root.path() / path) << text << "\n";
    };
    constexpr int kNone = std::numeric_limits<int>::max();
    CHECK(cpu_quota(root.path().string()) == kNone);
    SECTION("version 2: the tightest group around us counts") {
        write("proc/self/cgroup", "0::/a/b");
        write("sys/fs/cgroup/a/b/cpu.max", "max 100000");
        CHECK(cpu_quota(root.path().string()) == kNone);
        write("sys/fs/cgroup/a/cpu.max", "399999 100000");
        CHECK(cpu_quota(root.path().string()) == 3);
        write("sys/fs/cgroup/cpu.max", "100000 50000");
        CHECK(cpu_quota(root.path().string()) == 2);
        write("sys/fs/cgroup/a/b/cpu.max", "20000 100000");
        CHECK(cpu_quota(root.path().string()) == 1);
    }
    SECTION("version 1") {
        write("proc/self/cgroup", "4:cpu,cpuacct:/x/y\n3:cpuset:/z");
        write("sys/fs/cgroup/cpu/x/y/cpu.cfs_quota_us", "-1");
        write("sys/fs/cgroup/cpu/x/y/cpu.cfs_period_us", "100000");
        write("sys/fs/cgroup/cpu/z/cpu.cfs_quota_us", "100000");
        write("sys/fs/cgroup/cpu/z/cpu.cfs_period_us", "100000");
        CHECK(cpu_quota(root.path().string()) == kNone);
        write("sys/fs/cgroup/cpu/x/cpu.cfs_quota_us", "250000");
        write("sys/fs/cgroup/cpu/x/cpu.cfs_period_us", "100000");
        CHECK(cpu_quota(root.path().string()) == 2);
    }
    SECTION("files that make no sense limit nothing") {
        write("proc/self/cgroup", "0::/a");
        write("sys/fs/cgroup/a/cpu.max", GENERATE("", "?", "100000", "100000 0", "0 100000", "-5 100000"));
        CHECK(cpu_quota(root.path().string()) == kNone);
    }
    CHECK(cpu_quota() >= 1);
}

// Run by the case below as a separate program, whose first thread is bound to one of OpenMP's places.
TEST_CASE("a thread that is held to its place may still use the others", "[.held]") {
    REQUIRE(omp_get_proc_bind() != omp_proc_bind_false);
    const char* cpus = std::getenv("USABLE_CPUS");
    REQUIRE(cpus != nullptr);
    CHECK(std::to_string(usable_cpus().size()) == cpus);
    CHECK(std::getenv("GOMP_SPINCOUNT") !=
          nullptr);  // it has been started again, to wait as restart_with_passive_waiting() says
}

TEST_CASE("OMP_PROC_BIND leaves every core in use, also to the program that starts itself again", "[cores]") {
#ifdef __clang__
    WARN("skipped: it is GNU's OpenMP that binds the first thread, and clang's that is linked");
    return;
#endif
    cpu_set_t inherited;  // by the program below; where this one is held to a place, that is all it gets
    REQUIRE(sched_getaffinity(0, sizeof inherited, &inherited) == 0);
    const int cpus = CPU_COUNT(&inherited);
    if (cpus == 1) WARN("with one CPU this cannot fail");
    const std::string self = std::filesystem::read_symlink("/proc/self/exe").string();
    const std::string command =
        "env -u OMP_WAIT_POLICY -u GOMP_SPINCOUNT -u OMP_PLACES -u GOMP_CPU_AFFINITY -u OMP_NUM_THREADS "
        "OMP_PROC_BIND=true USABLE_CPUS=" +
        std::to_string(cpus) + " '" + self + "' '[.held]' > /dev/null";
    CHECK(std::system(command.c_str()) == 0);
}
