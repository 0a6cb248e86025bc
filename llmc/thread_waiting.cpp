#include "llmc/thread_waiting.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <system_error>

namespace llmc {

void let_threads_sleep(char** argv) {
    if (std::getenv("OMP_WAIT_POLICY") || std::getenv("GOMP_SPINCOUNT")) return;
    std::error_code unknown;
    const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", unknown);
    if (unknown) return;
    ::setenv("OMP_WAIT_POLICY", "passive", /*overwrite=*/1);
    ::execv(program.c_str(), argv);  // by its own name: /proc/self/exe would call the process exe
}

}  // namespace llmc
