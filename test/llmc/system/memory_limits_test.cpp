#include "llmc/system/memory_limits.h"

#include <filesystem>
#include <fstream>

#include "test/catch.h"
#include "test/files.h"

using namespace llmc;
namespace fs = std::filesystem;

namespace {

void write_text(const fs::path& path, const std::string& text) {
    fs::create_directories(path.parent_path());
    std::ofstream(path) << text;
}

}  // namespace

TEST_CASE("available memory is what the tightest limit leaves", "[memory]") {
    const fs::path root = test::fresh_folder("memory");
    write_text(root / "proc/meminfo", "MemTotal: 9000 kB\nMemAvailable:    8000 kB\n");
    CHECK(available_memory(root.string()) == 8000 * 1024);
    SECTION("control group v2, the parent is the tighter") {
        write_text(root / "proc/self/cgroup", "0::/a/b\n");
        write_text(root / "sys/fs/cgroup/a/b/memory.max", "max\n");
        write_text(root / "sys/fs/cgroup/a/b/memory.current", "1\n");
        write_text(root / "sys/fs/cgroup/a/memory.max", "100000\n");
        write_text(root / "sys/fs/cgroup/a/memory.current", "60000\n");
        write_text(root / "sys/fs/cgroup/a/memory.stat", "anon 1\ninactive_file 20000\n");
        CHECK(available_memory(root.string()) == 60000);
    }
    SECTION("control group v1") {
        write_text(root / "proc/self/cgroup", "5:cpu,memory:/x\n1:name=systemd:/x\n");
        write_text(root / "sys/fs/cgroup/memory/x/memory.limit_in_bytes", "5000\n");
        write_text(root / "sys/fs/cgroup/memory/x/memory.usage_in_bytes", "7000\n");
        CHECK(available_memory(root.string()) == 0);
    }
    SECTION("a container sees its own group at the root of the mount") {
        write_text(root / "proc/self/cgroup", "0::/not/visible/here\n");
        write_text(root / "sys/fs/cgroup/memory.max", "4096\n");
        write_text(root / "sys/fs/cgroup/memory.current", "96\n");
        CHECK(available_memory(root.string()) == 4000);
    }
    CHECK(available_memory() > 0);
    CHECK(peak_resident_memory() > 1 << 20);
}
