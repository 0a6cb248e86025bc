// A GPU in use: the device the model is templated on, with what it needs and does not own.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "llmc/cuda/cublaslt.cuh"
#include "llmc/cuda/device.cuh"

namespace cuda {

// Why no GPU of this machine can be used, for a sentence that goes on from there; empty when one can.
std::string why_no_gpu();

// Whether the GPU computes in bf16: from compute capability 8.0 on.
bool has_bf16(int index);

// Where choices that were timed are kept from run to run: train_quaff/ in the user's cache directory, or empty. Always
// empty on the emulator, whose times say nothing about a GPU.
std::filesystem::path cache_directory();

template <class T>
struct Gpu {
    Device<T> device;

    // choices_directory: where timed choices are kept (cache_directory()); empty: nothing is timed, so that a sum has
    // the same order wherever it runs.
    Gpu(int index, const std::filesystem::path& choices_directory)
        : device(index), workspace_(device.allocate(BlasLt::kWorkspaceBytes)) {
        require(workspace_ != nullptr, "GPU ", index, " has not even ", BlasLt::kWorkspaceBytes >> 20,
                " MiB of memory free; end what else runs there (nvidia-smi shows it), or take --device cpu");
        blas_ = std::make_unique<BlasLt>(workspace_, BlasLt::kWorkspaceBytes, choices_directory);
        device.blas = blas_.get();
    }
    ~Gpu() { device.release(workspace_, BlasLt::kWorkspaceBytes); }
    Gpu(const Gpu&) = delete;
    Gpu& operator=(const Gpu&) = delete;

  private:
    void* workspace_;
    std::unique_ptr<BlasLt> blas_;
};

}  // namespace cuda
