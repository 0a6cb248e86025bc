// A function for each verb. It reports its result on the terminal and, with --json, on stdout, and returns the exit
// status.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "llmc/comm/comm.h"
#include "llmc/system/terminal.h"
#include "quaff/cli/parsing.h"
#include "quaff/run/starting_point.h"

namespace quaff::cli {

template <class Device>
int train(const CommandLine& line, Terminal& terminal, const Device& device);
// --plan of train and info.
template <class Device>
int plan(const CommandLine& line, Terminal& terminal, const Device& device);
template <class Device>
int calibrate(const CommandLine& line, Terminal& terminal, const Device& device);
// With --plan, the memory that it would take.
template <class Device>
int evaluate(const CommandLine& line, Terminal& terminal, const Device& device);
template <class Device>
int generate(const CommandLine& line, Terminal& terminal, const Device& device);

int compare(const CommandLine& line, Terminal& terminal, const Comm& ranks);
int merge(const CommandLine& line, Terminal& terminal);
int tokenize(const CommandLine& line);
int report(const CommandLine& line, Terminal& terminal);
int info(const CommandLine& line, Terminal& terminal);
// --show-tokens of train, calibrate, eval and info: the examples as the model sees them.
int show_tokens(const CommandLine& line, Terminal& terminal);

// One line on stdout.
void print_json(const nlohmann::ordered_json& object);
// Shows the progress of long work on the live line.
Progress show_progress(Terminal& terminal);

}  // namespace quaff::cli
