// train_quaff: fine-tunes LLaMA- and Phi-3-family models with 8-bit weights, 8-bit activations and LoRA adapters.
//
// This file parses the command line, picks the device and calls the verb. The program holds the CPU alone, or both
// devices where there was CUDA to build it with (LLMC_CUDA). Under mpirun or srun it is one of several ranks.
#include <fcntl.h>
#include <omp.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "llmc/comm/comm.h"
#include "llmc/core/error.h"
#include "llmc/cpu/gemm/bf16_gemm.h"
#include "llmc/io/mapped_file.h"
#include "llmc/system/cores.h"
#include "llmc/system/memory_limits.h"
#include "llmc/system/signals.h"
#include "llmc/system/terminal.h"
#include "llmc/system/thread_waiting.h"
#include "quaff/cli/option_table.h"
#include "quaff/cli/parsing.h"
#include "quaff/cli/verbs.h"
#include "quaff/model/devices.h"
#include "quaff/run/ranks.h"

namespace {

using quaff::ComputeType;

int run_on_cpu(const quaff::cli::CommandLine& line, llmc::Terminal& terminal, llmc::Comm& ranks) {
    const quaff::ComputeOptions& compute = line.options.compute;
    if (compute.dtype == ComputeType::fp16)
        throw llmc::UsageError("--dtype fp16: the CPU computes in fp32, or with products in bf16; take one of these");
    if (compute.transport == quaff::Transport::nccl && ranks.size() > 1)
        throw llmc::UsageError("--comm nccl: NCCL is for GPUs; processors talk by --comm mpi");
    cpu::Device device;
    device.comm = &ranks;
    if (compute.dtype == ComputeType::bf16) {
        device.products = cpu::Products::bf16;
        if (!cpu::has_bf16_instructions())
            terminal.warn("--dtype bf16: this processor has no instructions for it (AVX512_BF16); fp32 is faster");
    }
    return quaff::cli::run_verb(line, terminal, device);
}

#ifdef LLMC_CUDA
template <class T>
int run_on_cuda(const quaff::cli::CommandLine& line, llmc::Terminal& terminal, llmc::Comm& ranks, int index) {
    cuda::Gpu<T> gpu(index, cuda::cache_directory());
    if (ranks.size() == 1) return quaff::cli::run_verb(line, terminal, gpu.device);
    const auto comm = cuda::gpu_comm(ranks, index, gpu.device.stream,
                                     name_in(quaff::kTransportNames, line.options.compute.transport));
    gpu.device.comm = comm.get();
    gpu.device.free_at_first = gpu.device.available_memory();  // without NCCL's
    return quaff::cli::or_end_all_ranks(*comm, [&] { return quaff::cli::run_verb(line, terminal, gpu.device); });
}

// Every device this program was built for computes the same things; this one only chooses.
int run_on_device(const quaff::cli::CommandLine& line, llmc::Terminal& terminal, llmc::Comm& ranks) {
    using quaff::cli::Verb;
    const quaff::ComputeOptions& compute = line.options.compute;
    const bool computes = line.verb != Verb::merge && line.verb != Verb::tokenize &&
                          (line.verb != Verb::info || line.plan) && line.show_tokens == 0;
    if (compute.device == quaff::DeviceChoice::cpu || !computes) return run_on_cpu(line, terminal, ranks);
    const int gpus = cuda::count_gpus();
    const int gpu = gpus == 0 ? 0 : cuda::gpu_of_rank(ranks, gpus);
    const std::string missing = cuda::why_no_gpu(gpu);
    // A rank without a GPU takes the others along, or fails with --device cuda.
    if (!missing.empty() && line.options.compute.device == quaff::DeviceChoice::cuda)
        throw llmc::Error("--device cuda: " + missing);
    if (ranks.any(!missing.empty())) {
        if (!line.quiet)
            terminal.warn("on the CPU, because " +
                          (missing.empty() ? "another rank has no GPU it could use" : missing));
        return run_on_cpu(line, terminal, ranks);
    }
    const bool has_bf16 = !ranks.any(!cuda::has_bf16(gpu));
    const ComputeType dtype = compute.dtype != ComputeType::automatic ? compute.dtype
                              : has_bf16                              ? ComputeType::bf16
                                                                      : ComputeType::fp16;
    if (dtype == ComputeType::fp32) return run_on_cuda<float>(line, terminal, ranks, gpu);
    if (dtype == ComputeType::fp16) return run_on_cuda<cuda::fp16>(line, terminal, ranks, gpu);
    return run_on_cuda<cuda::bf16>(line, terminal, ranks, gpu);
}
#else
int run_on_device(const quaff::cli::CommandLine& line, llmc::Terminal& terminal, llmc::Comm& ranks) {
    if (line.options.compute.device == quaff::DeviceChoice::cuda)
        throw llmc::UsageError(
            "--device cuda: this program was built without CUDA; build it where nvcc is found, or take --device cpu");
    return run_on_cpu(line, terminal, ranks);
}
#endif

// More threads than cores do not share the work: they wait for each other, a hundred times as long as it takes.
void set_threads(int64_t asked_for, llmc::Terminal& terminal, llmc::Comm& ranks) {
    const int cores = omp_get_num_procs();
    if (asked_for > cores)
        terminal.warn(llmc::concat("--threads ", asked_for, ": this process may use ", llmc::counted(cores, "core"),
                                   ", and takes as many threads"));
    if (ranks.size() > 1 && omp_get_proc_bind() != omp_proc_bind_false)
        terminal.warn("OMP_PROC_BIND holds the threads of every rank to the same first cores; unset it");
    if (asked_for > 0) {
        omp_set_num_threads(static_cast<int>(std::min<int64_t>(asked_for, cores)));
    } else if (ranks.size() > 1) {
        omp_set_num_threads(quaff::fair_threads(ranks));
    } else {  // OMP_NUM_THREADS may ask for less
        omp_set_num_threads(std::min(omp_get_max_threads(), static_cast<int>(llmc::usable_cores().size())));
    }
}

int run(const std::vector<std::string>& arguments, llmc::Comm& ranks) {
    const quaff::cli::CommandLine line = quaff::cli::parse(arguments);
    if (!line.help.empty()) {
        llmc::print(stdout, line.help);
        return quaff::cli::kDone;
    }
    if (ranks.size() > 1)
        quaff::require_same_start(ranks, quaff::cli::info_of(line.verb).name,
                                  quaff::cli::record_of(line, line.options).shown);
    ranks.start_heartbeat(static_cast<double>(line.options.compute.comm_timeout));
    llmc::Terminal terminal(!ranks.is_first() ? nullptr : line.json ? stderr : stdout, line.quiet);
    if (ranks.size() > 1) terminal.be_plain();
    set_threads(line.options.compute.threads, terminal, ranks);
    return run_on_device(line, terminal, ranks);
}

int complain(const std::string& message, int status) {
    std::fflush(stdout);
    std::fprintf(stderr, "train_quaff: %s\n", message.c_str());
    return status;
}

// What did not reach stdout makes a run a failed one. That a pipe's reader has gone, as head does, is no failure: it
// had what it wanted.
int finish_stdout(int status) {
    llmc::print(stdout, "");
    const int error = llmc::take_stdout_error();
    if (error == 0 || error == EPIPE || status != quaff::cli::kDone) return status;
    return complain(llmc::concat("standard output: cannot write: ", std::strerror(error)), quaff::cli::kFailed);
}

// Rank 0 speaks for all.
void silence_stdout() {
    if (!std::freopen("/dev/null", "w", stdout)) llmc::fail("/dev/null cannot be opened");
}

// A closed stdin, stdout or stderr would give its number to the next file that is opened, and what is printed would go
// there.
void open_standard_files() {
    for (int file = STDIN_FILENO; file <= STDERR_FILENO; file++)
        if (fcntl(file, F_GETFD) == -1) (void)!open("/dev/null", O_RDWR);
}

}  // namespace

int main(int argc, char** argv) {
    llmc::restart_with_passive_waiting(argv);
    open_standard_files();
    llmc::ignore_broken_pipes();
    llmc::tell_of_lost_pages();
    llmc::prepare_for_little_memory();
    std::unique_ptr<llmc::Comm> joined;
    try {
        joined = llmc::join_ranks();
        llmc::Comm& ranks = joined ? *joined : llmc::single_process();
        if (!ranks.is_first()) silence_stdout();
        return finish_stdout(run({argv + 1, argv + argc}, ranks));
    } catch (...) {
        const quaff::cli::Fault fault = quaff::cli::current_fault();
        if (joined && joined->size() > 1) joined->fail_all(fault.message, fault.status);
        return complain(fault.message, fault.status);
    }
}
