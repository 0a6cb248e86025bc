// What a run leans on besides its model: the log, signals, memory limits, spikes.
#include <omp.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "llmc/core/error.h"
#include "llmc/system/memory_limits.h"
#include "llmc/system/signals.h"
#include "llmc/training/log.h"
#include "llmc/training/spike_detector.h"
#include "test/catch.h"
#include "test/files.h"

using namespace llmc;
namespace fs = std::filesystem;
using test::fresh_folder;

namespace {

std::string read_text(const fs::path& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
}

void write_text(const fs::path& path, const std::string& text) {
    fs::create_directories(path.parent_path());
    std::ofstream(path) << text;
}

}  // namespace

TEST_CASE("the log has a line per object, at once on disk", "[log]") {
    const fs::path path = fresh_folder("log") / "log.jsonl";
    JsonLog log(path.string());
    log.write({{"step", 1}, {"loss", 1.5}});
    CHECK(read_text(path) == "{\"step\":1,\"loss\":1.5}\n");
    log.write({{"step", 2}, {"loss", 1.25}});
    CHECK(read_text(path) == "{\"step\":1,\"loss\":1.5}\n{\"step\":2,\"loss\":1.25}\n");
}

TEST_CASE("a resumed log drops the steps that will be taken again, and a torn line", "[log]") {
    const fs::path path = fresh_folder("log_resume") / "log.jsonl";
    const std::string before = "{\"step\":0,\"eval_loss\":3}\n";
    write_text(path, before + "{\"step\":1}\n{\"step\":2}\n{\"step\":3}\n{\"ste");
    {
        JsonLog log(path.string(), up_to_step(2));
        log.write({{"step", 3}, {"loss", 1}});
    }
    CHECK(read_text(path) == before + "{\"step\":1}\n{\"step\":2}\n{\"step\":3,\"loss\":1}\n");
    { JsonLog log(path.string(), up_to_step(0)); }
    CHECK(read_text(path) == before);  // a run that goes on from step 0 has been evaluated already
    { JsonLog log(path.string()); }
    CHECK(read_text(path).empty());
    CHECK_THROWS_AS(JsonLog((path.parent_path() / "no" / "log.jsonl").string()), Error);
}

TEST_CASE("a resumed log keeps lines that are not the run's own", "[log]") {
    const fs::path path = fresh_folder("log_foreign") / "log.jsonl";
    const std::string foreign = "{\"step\":\"two\"}\n{\"step\":null}\n{\"note\":\"by hand\"}\n";
    write_text(path, foreign + "{\"step\":18446744073709551615}\n{\"step\":2.5}\n[1]\n3\n");
    { JsonLog log(path.string(), up_to_step(2)); }
    CHECK(read_text(path) == foreign);
}

TEST_CASE("the old log is there until the shortened one takes its place", "[log]") {
    const fs::path folder = fresh_folder("log_atomic"), path = folder / "log.jsonl";
    write_text(path, "{\"step\":1}\n{\"step\":2}\n");
    std::ifstream reader(path);  // holds the old file, which is replaced and not written over
    { JsonLog log(path.string(), up_to_step(1)); }
    CHECK(std::string(std::istreambuf_iterator<char>(reader), {}) == "{\"step\":1}\n{\"step\":2}\n");
    CHECK(read_text(path) == "{\"step\":1}\n");
    CHECK(std::distance(fs::directory_iterator(folder), {}) == 1);
}

TEST_CASE("a log line that cannot be written waits, and what was cut short is carried on", "[log]") {
    const fs::path path = fresh_folder("log_full") / "log.jsonl";
    JsonLog log(path.string());
    CHECK(log.write({{"step", 1}}).empty());
    // No file may grow beyond half of the second line: the disk is full.
    rlimit before{};
    getrlimit(RLIMIT_FSIZE, &before);
    const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
    rlimit full = before;
    full.rlim_cur = 17;
    setrlimit(RLIMIT_FSIZE, &full);
    const std::string second = log.write({{"step", 2}}), third = log.write({{"step", 3}});
    setrlimit(RLIMIT_FSIZE, &before);
    std::signal(SIGXFSZ, old_handler);
    CHECK(second == path.string() + ": cannot write the log: File too large");
    CHECK(third == second);
    CHECK(read_text(path) == "{\"step\":1}\n{\"step");
    CHECK(log.write({{"step", 4}}).empty());
    CHECK(read_text(path) == "{\"step\":1}\n{\"step\":2}\n{\"step\":3}\n{\"step\":4}\n");
}

TEST_CASE("a signal asks for a stop, and the old handler comes back", "[signals]") {
    const int signal = GENERATE(SIGINT, SIGTERM, SIGHUP, SIGUSR1);
    const auto outside = std::signal(signal, SIG_DFL);  // whoever started the tests may have SIGHUP ignored
    struct sigaction before {
    }, after{};
    sigaction(signal, nullptr, &before);
    {
        StopSignals signals;
        CHECK_FALSE(signals.requested());
        raise(signal);
        CHECK(signals.requested());
    }
    sigaction(signal, nullptr, &after);
    CHECK(after.sa_handler == before.sa_handler);
    {
        StopSignals again;
        CHECK_FALSE(again.requested());
    }
    std::signal(signal, outside);
}

// oneDNN's kernels have their stack pointer in the heap: a handler on top of it would overwrite other allocations.
TEST_CASE("a signal's handler does not run on the stack of what it interrupts", "[signals]") {
    const StopSignals signals;
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGUSR1}) {
        struct sigaction action {};
        sigaction(signal, nullptr, &action);
        CHECK(((action.sa_flags & SA_ONSTACK) != 0 || action.sa_handler == SIG_IGN));
    }
    stack_t stack{};
    sigaltstack(nullptr, &stack);
    CHECK((stack.ss_flags & SS_DISABLE) == 0);
    CHECK(stack.ss_size >= 32 * 1024);
    int unblocked = 0;  // in other threads than this one
#pragma omp parallel reduction(+ : unblocked)
    {
        sigset_t blocked;
        pthread_sigmask(SIG_BLOCK, nullptr, &blocked);
        for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGUSR1})
            unblocked += omp_get_thread_num() != 0 && sigismember(&blocked, signal) == 0;
    }
    CHECK(unblocked == 0);
}

TEST_CASE("SIGHUP stays ignored where it was: nohup", "[signals]") {
    const auto before = std::signal(SIGHUP, SIG_IGN);
    {
        StopSignals signals;
        raise(SIGHUP);
        CHECK_FALSE(signals.requested());
    }
    CHECK(std::signal(SIGHUP, before) == SIG_IGN);
}

TEST_CASE("a value far outside its trailing window has a large z-score", "[spike]") {
    SpikeDetector detector(4);
    for (const double x : {1.0, 3.0, 1.0, 3.0}) CHECK(detector.update(x) == 0);  // the window fills
    CHECK(detector.update(7.0) == Approx(5.0));                                  // mean 2, standard deviation 1
    // Window 3, 1, 3, 7: mean 3.5, variance (0.25 + 6.25 + 0.25 + 12.25) / 4 = 4.75.
    CHECK(detector.update(3.5) == Approx(0.0).margin(1e-12));
    SpikeDetector flat(3);
    for (int i = 0; i < 10; ++i) CHECK(flat.update(2.0) == 0);
    CHECK(flat.update(100.0) == 0);  // no scale to measure by yet
}

TEST_CASE("available memory is what the tightest limit leaves", "[memory]") {
    const fs::path root = fresh_folder("memory");
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
