#include "quaff/cli/device_choice.h"

#include <omp.h>

#include <algorithm>

#include "llmc/core/error.h"
#include "llmc/cpu/gemm/bf16_gemm.h"
#include "llmc/system/cores.h"
#include "quaff/model/devices.h"
#include "quaff/run/ranks.h"

namespace quaff::cli {

using namespace llmc;

namespace {

int run_on_cpu(const CommandLine& line, Terminal& terminal, Comm& ranks) {
    const ComputeOptions& compute = line.options.compute;
    if (compute.dtype == ComputeType::fp16)
        throw UsageError("--dtype fp16: the CPU has no fp16; take fp32, or bf16 for the products");
    if (compute.transport == Transport::nccl && ranks.size() > 1)
        throw UsageError("--comm nccl: NCCL connects GPUs; for ranks on CPUs use --comm mpi");
    cpu::Device device;
    device.comm = &ranks;
    if (compute.dtype == ComputeType::bf16) {
        device.products = cpu::Products::bf16;
        if (!cpu::has_bf16_instructions())
            terminal.warn("--dtype bf16: this processor has no instructions for it (AVX512_BF16); fp32 is faster");
    }
    // In the forward pass bf16 would add to the distance from full precision; int8's gradients are less exact than bf16
    // anyway (dev/results/cpu_dtype.md). Others ignore it (Model).
    if (compute.dtype == ComputeType::automatic) device.bf16_gradients = !ranks.any(!cpu::has_bf16_instructions());
    return run_verb(line, terminal, device);
}

#ifdef LLMC_CUDA
template <class T>
int run_on_gpu(const CommandLine& line, Terminal& terminal, Comm& ranks, int index) {
    cuda::Gpu<T> gpu(index, cuda::cache_directory());
    if (ranks.size() == 1) return run_verb(line, terminal, gpu.device);
    const bool through_host = line.options.compute.transport == Transport::mpi;
    const auto comm =
        cuda::gpu_comm(ranks, index, gpu.device.stream, through_host ? cuda::Transport::host : cuda::Transport::nccl);
    gpu.device.comm = comm.get();
    gpu.device.free_at_first = gpu.device.available_memory();  // without NCCL's
    return or_end_all_ranks(*comm, [&] { return run_verb(line, terminal, gpu.device); });
}

ComputeType compute_type(ComputeType asked_for, bool has_bf16) {
    if (asked_for != ComputeType::automatic) return asked_for;
    return has_bf16 ? ComputeType::bf16 : ComputeType::fp16;
}
#endif

}  // namespace

void set_threads(int64_t asked_for, Terminal& terminal, Comm& ranks) {
    const int cores = omp_get_num_procs();
    if (asked_for > cores)
        terminal.warn(concat("--threads ", asked_for, ": this process may use only ", counted(cores, "core"),
                             "; it starts one thread for each"));
    if (ranks.size() > 1 && omp_get_proc_bind() != omp_proc_bind_false)
        terminal.warn("OMP_PROC_BIND ties the threads of every rank to the same first cores; unset it");
    if (asked_for > 0) {
        omp_set_num_threads(static_cast<int>(std::min<int64_t>(asked_for, cores)));
    } else if (ranks.size() > 1) {
        omp_set_num_threads(fair_threads(ranks));
    } else {
        omp_set_num_threads(std::min({omp_get_max_threads(), static_cast<int>(usable_cores().size()), cpu_quota()}));
    }
}

#ifdef LLMC_CUDA
int run_on_device(const CommandLine& line, Terminal& terminal, Comm& ranks) {
    const ComputeOptions& compute = line.options.compute;
    if (compute.device == DeviceChoice::cpu || !needs_of(line).device) return run_on_cpu(line, terminal, ranks);
    const int gpus = cuda::count_gpus();
    const int gpu = gpus == 0 ? 0 : cuda::gpu_of_rank(ranks, gpus);
    const std::string missing = cuda::why_no_gpu(gpu);
    if (!missing.empty() && compute.device == DeviceChoice::cuda) throw Error("--device cuda: " + missing);
    if (ranks.any(!missing.empty())) {
        if (!line.quiet)
            terminal.warn("on the CPU, because " +
                          (missing.empty() ? "another rank has no GPU it could use" : missing));
        return run_on_cpu(line, terminal, ranks);
    }
    const bool has_bf16 = !ranks.any(!cuda::has_bf16(gpu));
    switch (compute_type(compute.dtype, has_bf16)) {
        case ComputeType::fp32:
            return run_on_gpu<float>(line, terminal, ranks, gpu);
        case ComputeType::fp16:
            return run_on_gpu<cuda::fp16>(line, terminal, ranks, gpu);
        default:
            return run_on_gpu<cuda::bf16>(line, terminal, ranks, gpu);
    }
}
#else
int run_on_device(const CommandLine& line, Terminal& terminal, Comm& ranks) {
    if (line.options.compute.device == DeviceChoice::cuda)
        throw UsageError(
            "--device cuda: this program was built without CUDA; build it where nvcc is found, or use --device cpu");
    return run_on_cpu(line, terminal, ranks);
}
#endif

}  // namespace quaff::cli
