// Reductions of values in the GPU's memory, for as many ranks as there are: by NCCL, and by the host.
#include "llmc/cuda/runtime/gpu_comm.h"

#include "llmc/core/error.h"
#include "llmc/cuda/runtime/check.cuh"
#include "llmc/cuda/runtime/nccl_comm.h"
#include "test/catch.h"
#include "test/files.h"
#include "test/ranks.h"

using namespace cuda;

namespace {

const std::vector<Transport> kTransports = {
#ifdef LLMC_NCCL
    Transport::nccl,
#endif
    Transport::host};

// Whole numbers, whose sum is the same in any order.
std::vector<float> values_of(int rank, int64_t n) {
    std::vector<float> values(static_cast<size_t>(n));
    for (int64_t i = 0; i < n; ++i)
        values[static_cast<size_t>(i)] = static_cast<float>((i * 37 + rank * 101) % 997 - 400);
    return values;
}

struct DeviceValues {
    std::span<float> span;

    explicit DeviceValues(const std::vector<float>& values) {
        float* data = nullptr;
        CUDA_CHECK(cudaMalloc(&data, values.size() * sizeof(float)));
        span = {data, values.size()};
        CUDA_CHECK(cudaMemcpy(data, values.data(), span.size_bytes(), cudaMemcpyHostToDevice));
    }
    ~DeviceValues() { cudaFree(span.data()); }
    std::vector<float> read() const {
        std::vector<float> values(span.size());
        CUDA_CHECK(cudaMemcpy(values.data(), span.data(), span.size_bytes(), cudaMemcpyDeviceToHost));
        return values;
    }
};

// A communicator on the GPU of this rank.
std::unique_ptr<Comm> make(Transport transport, Comm& ranks = test::ranks()) {
    int gpus = 0;
    CUDA_CHECK(cudaGetDeviceCount(&gpus));
    const int gpu = gpu_of_rank(ranks, gpus);
    CUDA_CHECK(cudaSetDevice(gpu));
    return gpu_comm(ranks, gpu, nullptr, transport);
}

}  // namespace

TEST_CASE("values of the GPU are reduced over the ranks", "[cuda][comm][ranks]") {
    for (const Transport transport : kTransports) {
        const std::unique_ptr<Comm> comm = make(transport);
        for (const int64_t n : {1, 2, 7, 1000, 70001}) {
            std::vector<float> sums = values_of(0, n), maxima = sums;
            for (int r = 1; r < comm->size(); ++r) {
                const std::vector<float> other = values_of(r, n);
                for (size_t i = 0; i < other.size(); ++i) {
                    sums[i] += other[i];
                    maxima[i] = std::max(maxima[i], other[i]);
                }
            }
            INFO(name_in(kTransportNames, transport) << ", " << n << " values");
            const DeviceValues first(values_of(comm->rank(), n)), second(values_of(comm->rank(), n));
            const DeviceValues third(values_of(comm->rank(), n));
            comm->start_sum(first.span);
            comm->start_sum(second.span);
            comm->all_reduce_max(third.span);
            comm->finish_sums();
            CHECK(first.read() == sums);
            CHECK(second.read() == sums);
            CHECK(third.read() == maxima);
        }
        CUDA_CHECK(cudaDeviceSynchronize());
        const Traffic traffic = comm->traffic();
        CHECK((traffic.bytes > 0) == (comm->size() > 1));
        // Staged values are timed on the host, NCCL's on the device, whose clock stands still in the emulator.
        if (transport == Transport::host && comm->size() > 1) CHECK(traffic.seconds > 0);
    }
}

TEST_CASE("a GPU's communicator passes what lies in the host's memory on", "[cuda][comm][ranks]") {
    for (const Transport transport : kTransports) {
        const std::unique_ptr<Comm> comm = make(transport);
        CHECK(comm->name() == test::ranks().name());
        std::string text = comm->is_first() ? "from rank 0" : "";
        comm->broadcast(text);
        CHECK(text == "from rank 0");
        CHECK_FALSE(comm->any(false));
        comm->barrier();
    }
}

TEST_CASE("ranks of a host take its GPUs in turn, or the one that is bound to each", "[cuda][comm][ranks]") {
    Comm& ranks = test::ranks();
    CHECK(gpu_of_rank(ranks, 8) == ranks.local_rank());
    CHECK(gpu_of_rank(ranks, 1) == 0);
    CHECK_THROWS_WITH(gpu_of_rank(ranks, 0), Catch::Matchers::ContainsSubstring("--device cpu"));
    if (ranks.size() == 1) return;
    // Through the host's memory ranks may share a GPU, with NCCL they may not.
    CUDA_CHECK(cudaSetDevice(0));
    CHECK_NOTHROW(gpu_comm(ranks, 0, nullptr, Transport::host));
#ifdef LLMC_NCCL
    CHECK_THROWS_WITH(gpu_comm(ranks, 0, nullptr, Transport::nccl),
                      Catch::Matchers::ContainsSubstring("ranks 0 and 1 have the same GPU") &&
                          Catch::Matchers::ContainsSubstring("--comm mpi") &&
                          Catch::Matchers::ContainsSubstring("--device cpu"));
#endif
}

#if defined(LLMC_NCCL) && defined(LLMC_EMULATED)
TEST_CASE("an error of NCCL is found while nobody waits for it", "[cuda][comm][ranks]") {
    test::Overheard ranks(test::ranks());
    const std::unique_ptr<Comm> comm = make(Transport::nccl, ranks);
    emu::break_nccl(ncclRemoteError);
    CHECK_THAT(ranks.fault.get_future().get(), Catch::Matchers::ContainsSubstring("NCCL: remote process exited"));
    emu::break_nccl(ncclSuccess);
}

TEST_CASE("a rank that does not come to a reduction is not waited for beyond the time limit", "[cuda][comm][ranks]") {
    if (test::ranks().size() == 1) return;
    test::Overheard ranks(test::ranks());
    const std::unique_ptr<Comm> comm = make(Transport::nccl, ranks);
    const DeviceValues values({1, 2, 3});
    const bool late = ranks.rank() == ranks.size() - 1;
    comm->set_time_limit(0.2);
    if (!late) {
        const std::string error = test::error_of([&] { comm->all_reduce_max(values.span); });
        CHECK_THAT(error, Catch::Matchers::ContainsSubstring("NCCL: the maximum over all ranks has taken more than"));
    }
    ranks.barrier();
    comm->set_time_limit(60);
    if (late) comm->all_reduce_max(values.span);  // and now it comes
}
#endif
