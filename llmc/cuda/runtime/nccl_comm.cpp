#include "llmc/cuda/runtime/nccl_comm.h"

#ifdef LLMC_NCCL

#include <chrono>
#include <cmath>
#include <cstdlib>

#include "llmc/core/program.h"
#include "llmc/cuda/runtime/check.cuh"
#include "llmc/system/loaded_library.h"

namespace cuda {
namespace {

constexpr std::chrono::milliseconds kLook{20};     // the watchdog looks this often
constexpr size_t kWarmUpValues = size_t{1} << 20;  // as many as a model sums at a time

[[maybe_unused]] std::string without_nccl() {
    return concat("install NCCL (libnccl2), or ", program().use_mpi,
                  " to exchange gradients through the host's memory");
}

struct Functions {
#define NCCL_FUNCTION(name) LLMC_FUNCTION("libnccl.so." LLMC_TEXT(NCCL_MAJOR), name, without_nccl())
    NCCL_FUNCTION(ncclAllReduce);
    NCCL_FUNCTION(ncclCommDestroy);
    NCCL_FUNCTION(ncclCommFinalize);
    NCCL_FUNCTION(ncclCommGetAsyncError);
    NCCL_FUNCTION(ncclCommInitRankConfig);
    NCCL_FUNCTION(ncclGetErrorString);
    NCCL_FUNCTION(ncclGetLastError);
    NCCL_FUNCTION(ncclGetUniqueId);
#undef NCCL_FUNCTION
};

// Loaded at the first call.
const Functions& library() {
    static const Functions functions;
    return functions;
}

void check(ncclResult_t status, const char* what) {
    if (status == ncclSuccess || status == ncclInProgress) return;
    fail("NCCL: ", what, " failed: ", library().ncclGetErrorString(status), " (", library().ncclGetLastError(nullptr),
         "). NCCL_DEBUG=INFO shows more; to do without NCCL, ", program().use_mpi);
}

bool has_happened(cudaEvent_t event) {
    const cudaError_t status = cudaEventQuery(event);
    if (status == cudaErrorNotReady) {
        cudaGetLastError();  // no error: the next launch must not report it
        return false;
    }
    CUDA_CHECK(status);
    return true;
}

}  // namespace

NcclComm::NcclComm(Comm& ranks, int gpu, cudaStream_t stream) : GpuComm(ranks), gpu_(gpu), stream_(stream) {
    ncclUniqueId id{};
    if (is_first()) check(library().ncclGetUniqueId(&id), "making the id by which the ranks meet");
    broadcast(std::as_writable_bytes(std::span(id.internal)));
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;  // a lost rank must not keep this one in a call
    settle(library().ncclCommInitRankConfig(&comm_, size_, id, rank_, &config), "meeting the other ranks");
    CUDA_CHECK(cudaStreamCreateWithFlags(&side_, cudaStreamNonBlocking));
    CUDA_CHECK(cudaEventCreateWithFlags(&ready_, cudaEventDisableTiming));
    CUDA_CHECK(cudaEventCreateWithFlags(&done_, cudaEventDisableTiming));
    watchdog_ = std::thread([this] { watch(); });
    try {
        warm_up();
    } catch (const std::exception& error) {
        fail_all(error.what(), EXIT_FAILURE);  // the destructor, which ends the watchdog, will not run
    }
}

// NCCL makes connections and takes memory when it first reduces values of a kind. A GPU's memory is planned after that.
void NcclComm::warm_up() {
    float* values = nullptr;
    CUDA_CHECK(cudaMalloc(&values, kWarmUpValues * sizeof *values));
    CUDA_CHECK(cudaMemsetAsync(values, 0, kWarmUpValues * sizeof *values, stream_));
    all_reduce_max({values, 1});
    start_sum({values, kWarmUpValues});
    finish_sums();
    CUDA_CHECK(cudaStreamSynchronize(stream_));
    CUDA_CHECK(cudaFree(values));
    std::lock_guard lock(mutex_);
    collect();
    traffic_ = {};
}

// All has gone well: a rank that fails calls fail_all() before it comes here. The watchdog is there to the end.
NcclComm::~NcclComm() {
    try {
        CUDA_CHECK(cudaStreamSynchronize(stream_));
        CUDA_CHECK(cudaStreamSynchronize(side_));
        settle(library().ncclCommFinalize(comm_), "parting from the other ranks");
    } catch (const std::exception& error) {
        fail_all(error.what(), EXIT_FAILURE);
    }
    ending_ = true;
    watchdog_.join();
    library().ncclCommDestroy(comm_);
    for (const Operation& operation : under_way_) {
        cudaEventDestroy(operation.begin);
        cudaEventDestroy(operation.end);
    }
    for (const cudaEvent_t event : unused_) cudaEventDestroy(event);
    cudaEventDestroy(ready_);
    cudaEventDestroy(done_);
    cudaStreamDestroy(side_);
}

void NcclComm::settle(ncclResult_t status, const char* what) {
    AwakeTime waiting(time_limit_);
    check(status, what);
    while (status == ncclInProgress) {
        check(library().ncclCommGetAsyncError(comm_, &status), what);
        check(status, what);
        const double limit = time_limit_;
        const double waited = waiting.seconds();
        require(limit == 0 || waited < limit, "NCCL: ", what, " has taken more than ", std::lround(limit), " seconds (",
                program().comm_timeout, ")");
        std::this_thread::yield();
    }
}

cudaEvent_t NcclComm::event() {
    cudaEvent_t event = nullptr;
    if (unused_.empty()) {
        CUDA_CHECK(cudaEventCreate(&event));
    } else {
        event = unused_.back();
        unused_.pop_back();
    }
    return event;
}

void NcclComm::reduce(const char* what, std::span<float> values, ncclRedOp_t operation, cudaStream_t stream) {
    if (values.empty()) return;
    std::lock_guard lock(mutex_);
    const Operation begun{what, event(), event(), {}};
    CUDA_CHECK(cudaEventRecord(begun.begin, stream));
    settle(library().ncclAllReduce(values.data(), values.data(), values.size(), ncclFloat, operation, comm_, stream),
           what);
    CUDA_CHECK(cudaEventRecord(begun.end, stream));
    under_way_.push_back(begun);
    // Of a ring, where every rank passes on every part but its own, twice.
    traffic_.bytes +=
        static_cast<int64_t>(2 * values.size_bytes() * static_cast<size_t>(size_ - 1) / static_cast<size_t>(size_));
}

void NcclComm::all_reduce_max(std::span<float> values) {
    reduce("the maximum over all ranks", values, ncclMax, stream_);
}

void NcclComm::start_sum(std::span<float> values) {
    CUDA_CHECK(cudaEventRecord(ready_, stream_));
    CUDA_CHECK(cudaStreamWaitEvent(side_, ready_));
    reduce("the sum over all ranks", values, ncclSum, side_);
}

void NcclComm::finish_sums() {
    CUDA_CHECK(cudaEventRecord(done_, side_));
    CUDA_CHECK(cudaStreamWaitEvent(stream_, done_));
}

void NcclComm::collect() {
    // Two streams finish their work in nearly the order in which it was queued, not exactly. The list is short.
    for (auto at = under_way_.begin(); at != under_way_.end();) {
        if (!has_happened(at->end)) {
            ++at;
            continue;
        }
        float milliseconds = 0;
        CUDA_CHECK(cudaEventElapsedTime(&milliseconds, at->begin, at->end));
        traffic_.seconds += 1e-3 * static_cast<double>(milliseconds);
        unused_.push_back(at->begin);
        unused_.push_back(at->end);
        at = under_way_.erase(at);
    }
}

Traffic NcclComm::traffic() {
    std::lock_guard lock(mutex_);
    collect();
    return traffic_;
}

void NcclComm::set_time_limit(double seconds) {
    time_limit_ = seconds;
    GpuComm::set_time_limit(seconds);
}

std::string NcclComm::find_fault() {
    ncclResult_t status = ncclSuccess;
    if (library().ncclCommGetAsyncError(comm_, &status) != ncclSuccess ||
        (status != ncclSuccess && status != ncclInProgress))
        return concat("NCCL: ", library().ncclGetErrorString(status), " (", library().ncclGetLastError(comm_),
                      "). Has another rank ended, or is the network down?");
    std::lock_guard lock(mutex_);
    collect();
    const double limit = time_limit_;
    for (Operation& operation : under_way_) {
        if (limit == 0 || !has_happened(operation.begin)) continue;
        if (!operation.since_begun) operation.since_begun.emplace(limit);
        if (operation.since_begun->seconds() > limit)
            return concat(operation.what, " has waited for more than ", std::lround(limit),
                          " seconds for another rank. Is its host overloaded, or the network down? ",
                          program().comm_timeout, " sets the limit");
    }
    return "";
}

void NcclComm::watch() {
    std::string fault;
    try {
        CUDA_CHECK(cudaSetDevice(gpu_));
        while (!ending_ && fault.empty()) {
            fault = find_fault();
            std::this_thread::sleep_for(kLook);
        }
    } catch (const std::exception& error) {
        fault = error.what();
    }
    if (!fault.empty()) fail_all(fault, EXIT_FAILURE);
}

}  // namespace cuda

#endif
