// train_quaff: fine-tunes LLaMA- and Phi-3-family models with 8-bit weights, 8-bit activations and LoRA adapters.
//
//   main                     prepares the process and joins the ranks, of which mpirun or srun may start several
//   run                      command line -> ranks started alike -> terminal -> threads -> device -> verb
//   cli/verbs.h              the verbs: train, calibrate, eval, compare, generate, merge, tokenize, info
//   run/training/trainer.h   what train does; the rest of quaff/run/ serves it and the other verbs
//
// The program computes on the CPU and, if it was built with CUDA (LLMC_CUDA), on GPUs.
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "llmc/comm/comm.h"
#include "llmc/core/error.h"
#include "llmc/io/mapped_file.h"
#include "llmc/system/memory_limits.h"
#include "llmc/system/signals.h"
#include "llmc/system/standard_files.h"
#include "llmc/system/terminal.h"
#include "llmc/system/thread_waiting.h"
#include "quaff/cli/checks.h"
#include "quaff/cli/device_choice.h"
#include "quaff/cli/exit_status.h"
#include "quaff/cli/parsing.h"
#include "quaff/cli/program.h"
#include "quaff/cli/verbs.h"
#include "quaff/run/ranks.h"

namespace {

int run(const std::vector<std::string>& arguments, llmc::Comm& ranks) {
    const quaff::cli::CommandLine line = quaff::cli::parse(arguments);
    if (!line.help.empty()) {
        llmc::print(stdout, line.help);
        return quaff::cli::kDone;
    }
    if (ranks.size() > 1) {
        quaff::cli::check_for_ranks(line);
        quaff::require_same_start(ranks, quaff::cli::info_of(line.verb).name,
                                  quaff::cli::record_of(line, line.options).all);
    }
    ranks.start_heartbeat(static_cast<double>(line.options.compute.comm_timeout));
    llmc::Terminal terminal(!ranks.is_first() ? nullptr : line.json ? stderr : stdout, line.quiet);
    if (ranks.size() > 1) terminal.be_plain();
    quaff::cli::set_threads(line.options.compute.threads, terminal, ranks);
    return quaff::cli::run_on_device(line, terminal, ranks);
}

int complain(const std::string& message, int status) {
    std::fflush(stdout);
    llmc::print(stderr, llmc::wrap("train_quaff: " + message, llmc::terminal_columns(stderr), 2) + "\n");
    return status;
}

// A run whose output did not reach stdout has failed. A pipe whose reader has gone, as head does, is no failure: it had
// what it wanted.
int finish_stdout(int status) {
    llmc::print(stdout, "");
    const int error = llmc::take_stdout_error();
    if (error == 0 || error == EPIPE || status != quaff::cli::kDone) return status;
    return complain(llmc::concat("standard output: cannot write: ", std::strerror(error)), quaff::cli::kFailed);
}

}  // namespace

int main(int argc, char** argv) {
    llmc::set_program(quaff::kProgram);
    llmc::restart_with_passive_waiting(argv);
    llmc::open_standard_files();
    llmc::ignore_broken_pipes();
    llmc::tell_of_lost_pages();
    llmc::prepare_for_little_memory();
    std::unique_ptr<llmc::Comm> joined;
    try {
        joined = llmc::join_ranks();
        llmc::Comm& ranks = joined ? *joined : llmc::single_process();
        if (!ranks.is_first()) llmc::silence_stdout();  // rank 0 speaks for all
        return finish_stdout(run({argv + 1, argv + argc}, ranks));
    } catch (...) {
        const quaff::cli::Fault fault = quaff::cli::current_fault();
        if (joined && joined->size() > 1) joined->fail_all(fault.message, fault.status);
        return complain(fault.message, fault.status);
    }
}
