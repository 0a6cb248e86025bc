// What the ranks of a run have to agree on, and how they share a host.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "llmc/comm/comm.h"
#include "quaff/run/options.h"

namespace quaff {

using namespace llmc;

// How much longer than another a rank may take to read a model, calibrate or evaluate.
inline constexpr double kPatience = 1800;  // seconds

// Name and value of something that has to be the same on all ranks.
using Facts = std::vector<std::pair<std::string, std::string>>;

// Every rank calls it. Rank 0 throws Error unless all have the same facts, naming a rank and the fact that differs.
void require_same(Comm& comm, const Facts& facts);

// The same for the program, its verb and its options. It leaves out threads, and also files and folders, whose names
// may differ between hosts: their contents are compared once they are read. `options`: RunRecord::all.
void require_same_start(Comm& comm, const std::string& verb, const OptionTexts& options);

// Threads for this rank: the cores it may run on, divided among the ranks of this host that may run on them, too.
int fair_threads(Comm& comm);

// One line for each rank: "rank 0 on node-1: NVIDIA H200 (GPU 0)". On rank 0.
std::vector<std::string> describe_ranks(Comm& comm, const std::string& device);

}  // namespace quaff
