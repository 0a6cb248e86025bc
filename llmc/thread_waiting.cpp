#include "llmc/thread_waiting.h"

#include <unistd.h>

#include <cstdlib>

namespace llmc {

void let_threads_sleep(char** argv) {
    if (std::getenv("OMP_WAIT_POLICY") || std::getenv("GOMP_SPINCOUNT")) return;
    ::setenv("OMP_WAIT_POLICY", "passive", /*overwrite=*/1);
    ::execv("/proc/self/exe", argv);
}

}  // namespace llmc
