// The cores this process may compute on. Two hyper-threads share the units that multiply: a thread on each makes
// nothing faster, and halves the cache that either has.
#pragma once

#include <filesystem>
#include <vector>

namespace llmc {

// One CPU number for each core that has any of `cpus`, ascending: the lowest of that core. `topology` is Linux's
// account of them; what it does not tell of counts as a core of its own.
std::vector<int> cores_of(const std::vector<int>& cpus,
                          const std::filesystem::path& topology = "/sys/devices/system/cpu");

// The CPUs that this process is allowed on: those of all OpenMP's places where OMP_PROC_BIND holds threads, the
// first one already, to theirs. Throws Error where the system does not say.
std::vector<int> usable_cpus();

// Their cores. Throws as usable_cpus() does.
std::vector<int> usable_cores();

}  // namespace llmc
