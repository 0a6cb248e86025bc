// Ranks that compute on GPUs. They find each other, and exchange values in host memory, through the launcher's ranks.
// Device values are reduced
//
//   by NCCL          from GPU to GPU; each rank needs a GPU of its own (nccl_comm.h)
//   by the host      copied to it and back, which lets ranks share a GPU
#pragma once

#include <cuda_runtime.h>

#include <cstdlib>

#include "llmc/comm/comm.h"
#include "llmc/core/named.h"

namespace cuda {

using namespace llmc;

enum class Transport { nccl, host };

// As the command line of a program may name them: MPI carries what goes through the host.
inline constexpr Named<Transport> kTransportNames[] = {{"nccl", Transport::nccl}, {"mpi", Transport::host}};

// What both share: everything but the reductions of device values.
class GpuComm : public Comm {
  public:
    explicit GpuComm(Comm& ranks);

    void sum(std::span<double> values) override { ranks_.sum(values); }
    void sum(std::span<int64_t> values) override { ranks_.sum(values); }
    void max(std::span<float> values) override { ranks_.max(values); }
    void broadcast(std::span<std::byte> values) override { ranks_.broadcast(values); }
    std::vector<std::string> gather(const std::string& mine) override { return ranks_.gather(mine); }
    void barrier() override { ranks_.barrier(); }
    void set_time_limit(double seconds) override { ranks_.set_time_limit(seconds); }
    void start_heartbeat(double limit) override { ranks_.start_heartbeat(limit); }
    [[noreturn]] void fail_all(const std::string& message, int status) override {
        ranks_.fail_all(message, status);
        std::abort();  // g++ does not see that no override returns
    }

  protected:
    Comm& ranks_;
};

class StagedComm final : public GpuComm {
  public:
    // stream: the device's own, whose earlier work makes the values.
    StagedComm(Comm& ranks, cudaStream_t stream) : GpuComm(ranks), stream_(stream) {}
    ~StagedComm() override;
    StagedComm(const StagedComm&) = delete;
    StagedComm& operator=(const StagedComm&) = delete;

    void all_reduce_max(std::span<float> values) override;
    void start_sum(std::span<float> values) override;
    void finish_sums() override {}
    Traffic traffic() override { return traffic_; }

  private:
    template <class Reduce>
    void through_host(std::span<float> values, const Reduce& reduce);

    cudaStream_t stream_;
    float* staging_ = nullptr;  // pinned
    size_t capacity_ = 0;
    Traffic traffic_;
};

// The GPU of this rank, of as many as it sees: its host's, dealt out to the ranks there in turn, or the one that a
// scheduler bound to it. Throws Error if there is none.
int gpu_of_rank(const Comm& ranks, int gpus);

// Throws Error if NCCL is asked for and missing, and on all ranks if two of them have the same GPU, which NCCL does not
// support.
std::unique_ptr<Comm> gpu_comm(Comm& ranks, int gpu, cudaStream_t stream, Transport transport);

}  // namespace cuda
