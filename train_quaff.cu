// train_quaff: fine-tunes LLaMA- and Phi-3-family models with 8-bit weights, 8-bit activations and LoRA adapters.
//
// This file parses the command line, picks the device and calls the verb. It holds the CPU alone when the C++ compiler
// reads it, and both devices when nvcc does.
#include <omp.h>

#include <cstdio>
#include <exception>
#include <new>
#include <string>
#include <vector>

#include "llmc/error.h"
#include "quaff/options.h"
#include "quaff/verbs.h"

namespace {

// Every device this program was built for computes the same things; this one only chooses.
int run_on_device(const quaff::Options& options, llmc::Terminal& terminal) {
    if (options.device == "cuda")
        throw llmc::UsageError(
            "--device cuda: this program was built without CUDA; build it where nvcc is found, or take --device cpu");
    if (options.dtype != "auto" && options.dtype != "fp32")
        throw llmc::UsageError("--dtype " + options.dtype + ": the CPU computes in fp32; take --dtype auto or fp32");
    if (options.threads > 0) omp_set_num_threads(static_cast<int>(options.threads));
    cpu::Device device;
    return quaff::run_verb(options, terminal, device);
}

int run(const std::vector<std::string>& arguments) {
    const quaff::Options options = quaff::parse_options(arguments);
    if (!options.help.empty()) {
        std::fputs(options.help.c_str(), stdout);
        return quaff::kDone;
    }
    llmc::Terminal terminal(options.json ? stderr : stdout, options.quiet);
    return run_on_device(options, terminal);
}

int complain(const std::string& message, int status) {
    std::fflush(stdout);
    std::fprintf(stderr, "train_quaff: %s\n", message.c_str());
    return status;
}

}  // namespace

int main(int argc, char** argv) {
    try {
        return run({argv + 1, argv + argc});
    } catch (const llmc::UsageError& error) {
        return complain(error.what(), quaff::kWrongUsage);
    } catch (const std::bad_alloc&) {
        return complain("out of memory; lower --batch-size, or see train_quaff --plan", quaff::kFailed);
    } catch (const std::exception& error) {
        return complain(error.what(), quaff::kFailed);
    }
}
