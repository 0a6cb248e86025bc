// A GPU in use: the device the model is templated on, with what it needs and does not own.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "llmc/core/program.h"
#include "llmc/cuda/device.cuh"
#include "llmc/cuda/gemm/cublaslt.cuh"
#include "llmc/cuda/runtime/gpu_comm.h"
#include "llmc/cuda/runtime/input_staging.cuh"

namespace cuda {

// Makes the GPU the current one. Returns why it cannot be used, as the end of a sentence; empty if it can.
std::string why_no_gpu(int index = 0);

// CUDA's error when it loads a kernel of this program for the current GPU (try_kernel.cu).
cudaError_t try_kernel();

// The number of GPUs of this machine; 0 if CUDA does not start.
int count_gpus();

// Whether the GPU computes in bf16: from compute capability 8.0 on.
bool has_bf16(int index);

// Where timed choices are kept between runs: the program's folder in the user's cache directory, or empty. Always empty
// on the emulator, whose times say nothing about a GPU.
std::filesystem::path cache_directory();

template <class T>
struct Gpu {
    Device<T> device;

    // choices_directory: where timed choices are kept (cache_directory()); empty: nothing is timed, so that sums have
    // the same order everywhere.
    Gpu(int index, const std::filesystem::path& choices_directory)
        : device(index), workspace_(device.allocate(BlasLt::kWorkspaceBytes)) {
        require(workspace_ != nullptr, "GPU ", index, " has less than ", BlasLt::kWorkspaceBytes >> 20,
                " MiB of memory free; end other programs on it (nvidia-smi lists them), or ", program().use_cpu);
        blas_ = std::make_unique<BlasLt>(workspace_, BlasLt::kWorkspaceBytes, choices_directory);
        device.blas = blas_.get();
        device.free_at_first = device.available_memory();
    }
    ~Gpu() { device.release(workspace_, BlasLt::kWorkspaceBytes); }
    Gpu(const Gpu&) = delete;
    Gpu& operator=(const Gpu&) = delete;

  private:
    void* workspace_;
    std::unique_ptr<BlasLt> blas_;
};

// Whether the first product of a kind is timed. A rehearsal then does it, so that no step has to wait for it.
template <class T>
bool wants_rehearsal(const Device<T>& device) {
    return device.blas->times();
}
// Micro-batches of one size class have products of the same kinds, except for some remainders.
template <class T>
int64_t size_class(const Device<T>& /*device*/, int64_t n_tokens) {
    return size_class(n_tokens);
}
// From now on no product is timed.
template <class T>
void end_rehearsal(const Device<T>& device) {
    device.blas->stop_timing();
}

}  // namespace cuda
