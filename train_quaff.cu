// train_quaff: fine-tunes LLaMA- and Phi-3-family models with 8-bit weights, 8-bit activations and LoRA adapters.
//
// This file parses the command line, picks the device and calls the verb. The program holds the CPU alone, or both
// devices where there was CUDA to build it with (LLMC_CUDA).
#include <fcntl.h>
#include <omp.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <new>
#include <string>
#include <vector>

#include "llmc/error.h"
#include "llmc/signals.h"
#include "llmc/terminal.h"
#include "llmc/thread_waiting.h"
#include "quaff/devices.h"
#include "quaff/options.h"
#include "quaff/verbs.h"

namespace {

int run_on_cpu(const quaff::Options& options, llmc::Terminal& terminal) {
    if (options.dtype != "auto" && options.dtype != "fp32")
        throw llmc::UsageError("--dtype " + options.dtype + ": the CPU computes in fp32; take --dtype auto or fp32");
    cpu::Device device;
    return quaff::run_verb(options, terminal, device);
}

#ifdef LLMC_CUDA
template <class T>
int run_on_cuda(const quaff::Options& options, llmc::Terminal& terminal) {
    cuda::Gpu<T> gpu(0, cuda::cache_directory());
    return quaff::run_verb(options, terminal, gpu.device);
}

// Every device this program was built for computes the same things; this one only chooses.
int run_on_device(const quaff::Options& options, llmc::Terminal& terminal) {
    const bool computes = options.verb != "merge" && options.verb != "tokenize";
    if (options.device == "cpu" || !computes) return run_on_cpu(options, terminal);
    const std::string missing = cuda::why_no_gpu();
    if (!missing.empty()) {
        if (options.device == "cuda") throw llmc::Error("--device cuda: " + missing);
        terminal.warn("on the CPU, because " + missing);
        return run_on_cpu(options, terminal);
    }
    const std::string dtype = options.dtype != "auto" ? options.dtype : cuda::has_bf16(0) ? "bf16" : "fp16";
    if (dtype == "fp32") return run_on_cuda<float>(options, terminal);
    if (dtype == "fp16") return run_on_cuda<cuda::fp16>(options, terminal);
    return run_on_cuda<cuda::bf16>(options, terminal);
}
#else
int run_on_device(const quaff::Options& options, llmc::Terminal& terminal) {
    if (options.device == "cuda")
        throw llmc::UsageError(
            "--device cuda: this program was built without CUDA; build it where nvcc is found, or take --device cpu");
    return run_on_cpu(options, terminal);
}
#endif

int run(const std::vector<std::string>& arguments) {
    const quaff::Options options = quaff::parse_options(arguments);
    if (!options.help.empty()) {
        llmc::print(stdout, options.help);
        return quaff::kDone;
    }
    if (options.threads > 0) omp_set_num_threads(static_cast<int>(options.threads));
    llmc::Terminal terminal(options.json ? stderr : stdout, options.quiet);
    return run_on_device(options, terminal);
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
    if (error == 0 || error == EPIPE || status != quaff::kDone) return status;
    return complain(llmc::concat("standard output: cannot write: ", std::strerror(error)), quaff::kFailed);
}

}  // namespace

// A closed stdin, stdout or stderr would give its number to the next file that is opened, and what is printed would go
// there.
void open_standard_files() {
    for (int file = STDIN_FILENO; file <= STDERR_FILENO; file++)
        if (fcntl(file, F_GETFD) == -1) (void)!open("/dev/null", O_RDWR);
}

int main(int argc, char** argv) {
    llmc::let_threads_sleep(argv);
    open_standard_files();
    llmc::ignore_broken_pipes();
    try {
        return finish_stdout(run({argv + 1, argv + argc}));
    } catch (const llmc::UsageError& error) {
        return complain(error.what(), quaff::kWrongUsage);
    } catch (const std::bad_alloc&) {
        return complain("out of memory; lower --batch-size, or see train_quaff --plan", quaff::kFailed);
    } catch (const std::exception& error) {
        return complain(error.what(), quaff::kFailed);
    }
}
