// What the ranks of a run have to agree on, and how they share a host.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "llmc/comm/comm.h"
#include "quaff/run/options.h"

namespace quaff {

using namespace llmc;

// A rank may take this long to read a model, calibrate or evaluate, beyond what another one takes.
inline constexpr double kPatience = 1800;  // seconds

// Name and value of something that has to be the same on all ranks.
using Facts = std::vector<std::pair<std::string, std::string>>;

// Every rank calls it. Rank 0 throws Error unless all have the same facts, naming a rank and the fact that differs.
void require_same(Comm& comm, const Facts& facts);

// The same for the program and its options, `shown` as text. Left out are threads, and files and folders, which may
// have another name on another host: their contents are compared once they are read.
void require_same_start(Comm& comm, const std::string& verb, const OptionTexts& shown);

// Threads for this rank: the cores it may run on, divided among the ranks of this host that may run on them as well.
int fair_threads(Comm& comm);

// One line for each rank: "rank 0 on node-1: NVIDIA H200 (GPU 0)". On rank 0.
std::vector<std::string> describe_ranks(Comm& comm, const std::string& device);

}  // namespace quaff
