#include "llmc/system/thread_waiting.h"

#include <omp.h>
#include <sched.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "llmc/system/cores.h"

namespace llmc {
namespace {

// OMP_PROC_BIND holds this thread to its place, and the restarted program would inherit that.
void leave_place() {
    if (omp_get_proc_bind() == omp_proc_bind_false) return;
    cpu_set_t all;
    CPU_ZERO(&all);
    for (const int cpu : usable_cpus()) CPU_SET(static_cast<size_t>(cpu), &all);
    (void)sched_setaffinity(0, sizeof all, &all);
}

}  // namespace

void restart_with_passive_waiting(char** argv) {
    if (std::getenv("OMP_WAIT_POLICY") || std::getenv("GOMP_SPINCOUNT")) return;
    std::error_code unknown;
    const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", unknown);
    if (unknown) return;
    ::setenv("OMP_WAIT_POLICY", "passive", /*overwrite=*/1);
    ::setenv("GOMP_SPINCOUNT", "600", /*overwrite=*/1);
    leave_place();
    ::execv(program.c_str(), argv);  // by its own path: started as /proc/self/exe, the process would be called exe
}

}  // namespace llmc
