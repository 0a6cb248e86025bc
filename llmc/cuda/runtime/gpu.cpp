#include "llmc/cuda/runtime/gpu.h"

#include <cstdlib>

#include "llmc/core/program.h"
#include "llmc/system/loaded_library.h"

namespace cuda {

namespace {

constexpr const char* kDriver = "CUDA's driver";  // loaded by the first call of CUDA

int compute_capability(int index) {
    int major = 0, minor = 0;
    CUDA_CHECK(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, index));
    CUDA_CHECK(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, index));
    return 10 * major + minor;
}

// CUDA reports a missing driver and one that is too old as the same error.
std::string what_driver_lacks() {
    const auto text = [](int version) { return concat(version / 1000, '.', version % 1000 / 10); };
    int driver = 0, runtime = 0;
    // The newest CUDA that the driver can run; 0: there is none.
    if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0)
        return "there is no NVIDIA driver here (start a container with docker run --gpus all)";
    CUDA_CHECK(cudaRuntimeGetVersion(&runtime));
    return concat("the NVIDIA driver is too old: it can run CUDA ", text(driver),
                  ", and this program was built with CUDA ", text(runtime),
                  "; update the driver, or build with the older CUDA");
}

}  // namespace

std::string why_no_gpu(int index) {
    if (const std::string no_room = why_no_room(kDriver); !no_room.empty()) return no_room;
    int count = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    if (error != cudaSuccess) {
        cudaGetLastError();  // reported here, not again by a later launch
        if (error == cudaErrorInsufficientDriver) return what_driver_lacks();
        if (error != cudaErrorNoDevice) return concat("CUDA does not start: ", cudaGetErrorString(error));
    }
    if (count == 0) return "no NVIDIA GPU is visible (nvidia-smi shows which the driver sees)";
    const int capability = compute_capability(index);
    if (capability < 75)
        return concat("the GPU has compute capability ", capability / 10, '.', capability % 10,
                      ", and int8 tensor cores begin with 7.5 (RTX 20, T4)");
    const auto does_not_start = [](cudaError_t error) {
        cudaGetLastError();
        return concat("CUDA does not start on the GPU: ", cudaGetErrorString(error),
                      " (nvidia-smi shows what else runs there)");
    };
    if (const cudaError_t choosing = cudaSetDevice(index); choosing != cudaSuccess) return does_not_start(choosing);
    if (const cudaError_t loading = try_kernel(); loading != cudaSuccess) {
        cudaGetLastError();
        if (loading == cudaErrorNoKernelImageForDevice || loading == cudaErrorInvalidDeviceFunction)
            return concat("this program was built without code for the GPU's compute capability ", capability / 10, '.',
                          capability % 10, "; build it on this machine, or with GPU_ARCHS=", capability);
        return concat("the GPU does not load this program's kernels: ", cudaGetErrorString(loading), advice(loading));
    }
    size_t free = 0, total = 0;
    if (const cudaError_t asking = cudaMemGetInfo(&free, &total); asking != cudaSuccess) return does_not_start(asking);
    if (free < static_cast<size_t>(BlasLt::kWorkspaceBytes))
        return concat("of the GPU's memory only ", format_bytes(static_cast<int64_t>(free)),
                      " are free (nvidia-smi shows what else runs there)");
    try {
        load_cublaslt();
    } catch (const Error& error) {
        return error.what();
    }
    return "";
}

int count_gpus() {
    if (!why_no_room(kDriver).empty()) return 0;  // why_no_gpu() reports it, and what fails below
    int count = 0;
    if (cudaGetDeviceCount(&count) == cudaSuccess) return count;
    cudaGetLastError();
    return 0;
}

bool has_bf16(int index) {
    return compute_capability(index) >= 80;
}

std::filesystem::path cache_directory() {
#ifndef LLMC_EMULATED
    // The places that the XDG base directory specification names. No option of a run depends on them.
    if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache && *cache == '/')
        return std::filesystem::path(cache) / program().name;
    if (const char* home = std::getenv("HOME"); home && *home == '/')
        return std::filesystem::path(home) / ".cache" / program().name;
#endif
    return {};
}

}  // namespace cuda
