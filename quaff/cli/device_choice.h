// What a run computes on: the number of threads, and the CPU or a GPU.
#pragma once

#include <cstdint>

#include "llmc/comm/comm.h"
#include "llmc/system/terminal.h"
#include "quaff/cli/parsing.h"

namespace quaff::cli {

// `asked_for` threads, at most one a core: more would wait for each other, a hundred times as long as the work takes.
// 0: as many as the process has cores, divided among the ranks that share them. OMP_NUM_THREADS may lower the number
// for a single process.
void set_threads(int64_t asked_for, llmc::Terminal& terminal, llmc::Comm& ranks);

// Calls run_verb() on the device that --device, --dtype and the hardware decide. With --device auto, either all ranks
// compute on GPUs or none does.
int run_on_device(const CommandLine& line, llmc::Terminal& terminal, llmc::Comm& ranks);

}  // namespace quaff::cli
