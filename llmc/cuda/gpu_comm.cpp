#include "llmc/cuda/gpu_comm.h"

#include <chrono>

#include "llmc/cuda/check.cuh"
#include "llmc/cuda/nccl_comm.h"

namespace cuda {

GpuComm::GpuComm(Comm& ranks) : ranks_(ranks) {
    rank_ = ranks.rank();
    size_ = ranks.size();
    local_rank_ = ranks.local_rank();
    local_size_ = ranks.local_size();
    host_ = ranks.host();
}

StagedComm::~StagedComm() {
    cudaFreeHost(staging_);
}

template <class Reduce>
void StagedComm::through_host(std::span<float> values, const Reduce& reduce) {
    if (values.empty()) return;
    const auto begin = std::chrono::steady_clock::now();
    const Traffic before = ranks_.traffic();
    if (values.size() > capacity_) {
        CUDA_CHECK(cudaStreamSynchronize(stream_));  // the copy back of the values before may still read it
        CUDA_CHECK(cudaFreeHost(staging_));
        staging_ = nullptr;
        CUDA_CHECK(cudaMallocHost(&staging_, values.size_bytes()));
        capacity_ = values.size();
    }
    CUDA_CHECK(cudaMemcpyAsync(staging_, values.data(), values.size_bytes(), cudaMemcpyDeviceToHost, stream_));
    CUDA_CHECK(cudaStreamSynchronize(stream_));
    reduce(std::span(staging_, values.size()));
    CUDA_CHECK(cudaMemcpyAsync(values.data(), staging_, values.size_bytes(), cudaMemcpyHostToDevice, stream_));
    traffic_.bytes += ranks_.traffic().bytes - before.bytes;
    traffic_.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

void StagedComm::all_reduce_max(std::span<float> values) {
    through_host(values, [&](std::span<float> staged) { ranks_.all_reduce_max(staged); });
}

void StagedComm::start_sum(std::span<float> values) {
    through_host(values, [&](std::span<float> staged) {
        ranks_.start_sum(staged);
        ranks_.finish_sums();
    });
}

int gpu_of_rank(const Comm& ranks, int gpus, bool may_share) {
    require(gpus > 0, ranks.host(), " has no GPU for ", ranks.name(), "; take --device cpu");
    require(may_share || ranks.local_size() <= gpus, ranks.host(), " has ", gpus, gpus == 1 ? " GPU" : " GPUs", " for ",
            ranks.local_size(), " ranks; start one rank for each GPU, let ranks share them with --comm mpi, or take ",
            "--device cpu");
    return ranks.local_rank() % gpus;
}

std::unique_ptr<Comm> gpu_comm(Comm& ranks, int gpu, cudaStream_t stream, const std::string& kind) {
    if (kind == "mpi") return std::make_unique<StagedComm>(ranks, stream);
#ifdef LLMC_NCCL
    return std::make_unique<NcclComm>(ranks, gpu, stream);
#else
    (void)gpu;
    fail("this program was built without NCCL, by which ", ranks.size(),
         " GPUs talk to each other. Install libnccl-dev ",
         "(or unpack NCCL into the CUDA toolkit's folder) and build again, or take --comm mpi, which goes through the ",
         "host's memory");
#endif
}

}  // namespace cuda
