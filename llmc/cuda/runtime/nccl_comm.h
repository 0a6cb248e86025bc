// Ranks on GPUs that talk through NCCL. Rank 0 makes the id by which they meet, and the launcher's ranks pass it on.
//
//   all_reduce_max   on the device's own stream: the scales that wait for it come next. A launch of its own for every
//                    layer with outliers, in the forward pass: what that costs is not yet measured
//   start_sum        on a stream beside it, as soon as the values are there, while the backward pass goes on below
//
// Nobody waits for a reduction on the host, so that a thread looks after them: an error that NCCL reports, or a
// reduction that began and does not end within the time limit, because another rank has stopped, ends the run. NCCL
// takes its sums in an order that depends on the number of ranks and how they are connected alone.
#pragma once

#ifdef LLMC_NCCL

#include <nccl.h>

#include <atomic>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>

#include "llmc/cuda/runtime/gpu_comm.h"
#include "llmc/system/awake_time.h"

namespace cuda {

class NcclComm final : public GpuComm {
  public:
    NcclComm(Comm& ranks, int gpu, cudaStream_t stream);
    ~NcclComm() override;
    NcclComm(const NcclComm&) = delete;
    NcclComm& operator=(const NcclComm&) = delete;

    void all_reduce_max(std::span<float> values) override;
    void start_sum(std::span<float> values) override;
    void finish_sums() override;
    Traffic traffic() override;
    void set_time_limit(double seconds) override;

  private:
    // A reduction that was handed to the GPU.
    struct Operation {
        const char* what;
        cudaEvent_t begin, end;
        std::optional<AwakeTime> since_begun;
    };

    void warm_up();
    void reduce(const char* what, std::span<float> values, ncclRedOp_t operation, cudaStream_t stream);
    // Waits until NCCL has taken up what it was told without waiting.
    void settle(ncclResult_t status, const char* what);
    cudaEvent_t event();
    // Takes what has ended off the list; `mutex_` is held.
    void collect();
    void watch();
    // What is wrong, or "".
    std::string find_fault();

    int gpu_;
    cudaStream_t stream_, side_ = nullptr;
    cudaEvent_t ready_ = nullptr, done_ = nullptr;  // the values are there; the sums are
    ncclComm_t comm_ = nullptr;
    std::atomic<double> time_limit_ = kMeetingSeconds;

    std::mutex mutex_;  // of the three below
    std::deque<Operation> under_way_;
    std::vector<cudaEvent_t> unused_;
    Traffic traffic_;

    std::atomic<bool> ending_ = false;
    std::thread watchdog_;
};

}  // namespace cuda

#endif
