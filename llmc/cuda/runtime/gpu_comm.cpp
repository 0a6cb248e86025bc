#include "llmc/cuda/runtime/gpu_comm.h"

#include <chrono>

#include "llmc/core/program.h"
#include "llmc/cuda/runtime/check.cuh"
#include "llmc/cuda/runtime/nccl_comm.h"

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

int gpu_of_rank(const Comm& ranks, int gpus) {
    require(gpus > 0, ranks.host(), " has no GPU for ", ranks.name(), "; ", program().use_cpu);
    return ranks.local_rank() % gpus;
}

#ifdef LLMC_NCCL
namespace {

// GPU numbers tell nothing where every process sees its own GPU as number 0; the place on the bus does.
void require_own_gpus(Comm& ranks, int gpu) {
    char place[32] = "";
    CUDA_CHECK(cudaDeviceGetPCIBusId(place, sizeof place, gpu));
    const std::vector<std::string> places = ranks.gather(concat(ranks.host(), ": ", place));
    std::string shared;
    for (size_t r = 0; r < places.size() && shared.empty(); ++r)
        for (size_t other = 0; other < r; ++other)
            if (places[other] == places[r])
                shared = concat("ranks ", other, " and ", r, " have the same GPU, on ", places[r],
                                "; start no more ranks than there are GPUs, ", program().use_mpi, " to share them, or ",
                                program().use_cpu);
    ranks.broadcast(shared);
    require(shared.empty(), shared);
}

}  // namespace
#endif

std::unique_ptr<Comm> gpu_comm(Comm& ranks, int gpu, cudaStream_t stream, Transport transport) {
    if (transport == Transport::host) return std::make_unique<StagedComm>(ranks, stream);
#ifdef LLMC_NCCL
    require_own_gpus(ranks, gpu);
    return std::make_unique<NcclComm>(ranks, gpu, stream);
#else
    (void)gpu;
    fail("this program was built without NCCL, which ", ranks.size(),
         " GPUs need to exchange gradients; install libnccl-dev ",
         "(or unpack NCCL into the CUDA toolkit's folder) and build again, or ", program().use_mpi,
         ", which goes through the host's memory");
#endif
}

}  // namespace cuda
