// Ranks on GPUs that communicate through NCCL. Rank 0 makes the id by which they meet, and the launcher's ranks pass it
// on.
//
//   all_reduce_max   on the device's own stream: the scales that wait for it come next. A launch of its own for every
//                    layer with outliers, in the forward pass; its cost is not measured yet
//   start_sum        on a stream beside it, as soon as the values are there, while the backward pass goes on
//
// The host waits for no reduction, so a thread watches over them: it ends the run if NCCL reports an error, or if a
// reduction that has begun does not end within the time limit because another rank has stopped. The order of NCCL's
// sums depends only on the number of ranks and how they are connected.
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
    // A reduction handed to the GPU.
    struct Operation {
        const char* what;
        cudaEvent_t begin, end;
        std::optional<AwakeTime> since_begun;
    };

    void warm_up();
    void reduce(const char* what, std::span<float> values, ncclRedOp_t operation, cudaStream_t stream);
    // Waits until NCCL has accepted a call that returned at once.
    void settle(ncclResult_t status, const char* what);
    cudaEvent_t event();
    // Removes what has ended from the list; `mutex_` is held.
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
