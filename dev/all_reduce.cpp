// How fast the ranks of a run sum their gradients: seconds, and bytes per second, of Comm's sum, by size.
//
//   mpirun -np 4 build/all_reduce          processors, by MPI
//   mpirun -np 8 build/all_reduce cuda     GPUs, by NCCL; `cuda mpi` goes through the host's memory
//
// With P ranks, each must send at least 2 n (P-1)/P bytes for a sum of n bytes; "bus" is that over the time, the rate
// of the network or memory between the ranks. Every sum is checked: ranks add whole numbers.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>
#include <vector>

#include "llmc/core/arena.h"
#include "llmc/core/error.h"
#include "llmc/cpu/transfer.h"
#include "quaff/model/devices.h"
#ifdef LLMC_CUDA
#include "llmc/cuda/transfer.cuh"
#endif

namespace {

using namespace llmc;

constexpr int kRepeats = 10;

enum class MemoryKind { values };
constexpr MemoryKindInfo kMemoryKinds[] = {{"values", "use a larger device", false}};

void wait(const cpu::Device&) {}
#ifdef LLMC_CUDA
void wait(const cuda::Device<float>& device) {
    device.synchronize();
}
#endif

template <class Device>
void measure(const Device& device) {
    Comm& comm = *device.comm;
    const int p = comm.size();
    if (comm.is_first()) {
        std::printf("%d ranks, %d on this host, %s\n\n", p, comm.local_size(), device.describe().c_str());
        std::printf("%12s %12s %10s %10s\n", "bytes", "seconds", "sum GB/s", "bus GB/s");
    }
    for (size_t n = 1 << 10; n <= size_t{1} << 24; n *= 4) {
        Arena<Device> arena(device, kMemoryKinds);
        std::span<float> values;
        arena.build([&](Arena<Device>& a) { a.place(values, MemoryKind::values, "values", static_cast<int64_t>(n)); });
        const Matrix<float> row(values.data(), 1, static_cast<int64_t>(n));
        std::vector<double> seconds;
        for (int i = 0; i <= kRepeats; ++i) {
            fill_from_host(device, row, [&](Matrix<float> mine) {
                for (size_t j = 0; j < n; ++j)
                    mine.data[j] = static_cast<float>(static_cast<int>(j % 1000) + comm.rank());
            });
            comm.barrier();
            const auto begin = std::chrono::steady_clock::now();
            comm.start_sum(values);
            comm.finish_sums();
            wait(device);
            seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
        }
        std::vector<float> staging;
        const Matrix<const float> sums = host_view(device, row, staging);
        for (size_t j = 0; j < n; ++j) {
            const auto expected = static_cast<float>(p * static_cast<int>(j % 1000) + p * (p - 1) / 2);
            require(sums.data[j] == expected, "value ", j, " of ", n, " is ", sums.data[j], ", not ", expected);
        }
        std::nth_element(seconds.begin(), seconds.begin() + kRepeats / 2, seconds.end());
        const double median = seconds[kRepeats / 2], bytes = static_cast<double>(n * sizeof(float));
        if (comm.is_first())
            std::printf("%12zu %12.6f %10.3f %10.3f\n", n * sizeof(float), median, 1e-9 * bytes / median,
                        1e-9 * 2 * bytes * (p - 1) / p / median);
    }
}

void run(Comm& ranks, [[maybe_unused]] const std::string& where, [[maybe_unused]] const std::string& kind) {
#ifdef LLMC_CUDA
    if (where == "cuda") {
        const int index = cuda::gpu_of_rank(ranks, cuda::count_gpus());
        cuda::Gpu<float> gpu(index, {});
        const auto transport = value_in(cuda::kTransportNames, kind);
        require(transport.has_value(), "there is no transport named ", kind, "; use nccl or mpi");
        const auto comm = cuda::gpu_comm(ranks, index, gpu.device.stream, *transport);
        gpu.device.comm = comm.get();
        return measure(gpu.device);
    }
#endif
    require(where == "cpu", "usage: all_reduce [cpu | cuda [nccl | mpi]] (cuda where the program was built with it)");
    cpu::Device device;
    device.comm = &ranks;
    measure(device);
}

}  // namespace

int main(int argc, char** argv) {
    std::unique_ptr<Comm> joined;
    try {
        joined = join_ranks();
        run(joined ? *joined : single_process(), argc > 1 ? argv[1] : "cpu", argc > 2 ? argv[2] : "nccl");
    } catch (const std::exception& error) {
        (joined ? *joined : single_process()).fail_all(error.what(), 1);
    }
}
