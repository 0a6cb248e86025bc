// What a run computes on: how many threads, and the CPU or one of the GPUs.
#pragma once

#include <cstdint>

#include "llmc/comm/comm.h"
#include "llmc/system/terminal.h"
#include "quaff/cli/parsing.h"

namespace quaff::cli {

// `asked_for` threads, at most one a core: more would wait for each other, a hundred times as long as the work takes.
// 0: the cores of this process, divided among the ranks that share them; OMP_NUM_THREADS may ask a single process for
// less.
void set_threads(int64_t asked_for, llmc::Terminal& terminal, llmc::Comm& ranks);

// run_verb() on the device that --device, --dtype and the hardware come to. With --device auto, all ranks compute on
// their GPUs or none does.
int run_on_device(const CommandLine& line, llmc::Terminal& terminal, llmc::Comm& ranks);

}  // namespace quaff::cli
