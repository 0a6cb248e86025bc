// What every call of oneDNN's C GEMM interface needs: a checked status, and our number of threads.
#pragma once

#include <dnnl.h>
#include <omp.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "llmc/core/error.h"
#include "llmc/core/program.h"

namespace cpu {

inline void check_onednn(dnnl_status_t status, const char* call, int64_t m, int64_t n, int64_t k) {
    if (status == dnnl_success) return;
    const std::string sentence = llmc::concat(
        call, " of m = ", m, ", n = ", n, ", k = ", k, " failed with oneDNN status ", static_cast<int>(status),
        status == dnnl_out_of_memory ? llmc::concat(" (out of memory): lower ", llmc::program().batch_size) : "");
    if (!omp_in_parallel()) llmc::fail(sentence);
    // An exception cannot leave an OpenMP thread.
    std::fprintf(stderr, "%s: %s\n", llmc::program().name, sentence.c_str());
    std::_Exit(EXIT_FAILURE);
}

// Whether this processor has these instructions and oneDNN may use them (ONEDNN_MAX_CPU_ISA forbids some, to measure an
// older processor).
inline bool onednn_has(dnnl_cpu_isa_t instructions) {
    return (dnnl_get_effective_cpu_isa() & instructions) == instructions;
}

// oneDNN takes its number of threads from OpenMP's setting for the calling thread. The destructor restores the setting.
class OneDnnThreads {
  public:
    explicit OneDnnThreads(int threads) : before_(omp_get_max_threads()) {
        if (threads != before_) omp_set_num_threads(threads);
    }
    ~OneDnnThreads() {
        if (omp_get_max_threads() != before_) omp_set_num_threads(before_);
    }
    OneDnnThreads(const OneDnnThreads&) = delete;
    OneDnnThreads& operator=(const OneDnnThreads&) = delete;

  private:
    int before_;
};

}  // namespace cpu
