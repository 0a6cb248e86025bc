// The cores this process may compute on. Two hyper-threads of a core share its multipliers: a thread on each makes
// nothing faster and halves the cache that either has.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace llmc {

// The lowest CPU number of each core that has any of `cpus`, ascending. `topology` is Linux's description of the CPUs;
// one that it does not describe counts as a core of its own.
std::vector<int> cores_of(const std::vector<int>& cpus,
                          const std::filesystem::path& topology = "/sys/devices/system/cpu");

// The CPUs that this process may use. If OMP_PROC_BIND binds threads, even the first, these are the CPUs of all OpenMP
// places. Throws Error if the system does not say.
std::vector<int> usable_cpus();

// Their cores. Throws as usable_cpus() does.
std::vector<int> usable_cores();

// How many cores' worth of time the control groups around us grant, rounded down but at least 1; INT_MAX if they set no
// quota. Threads beyond it would run the quota out early in each period and then stand still, all of them, until the
// next. `root` is prepended to /proc and /sys paths, for the tests.
int cpu_quota(const std::string& root = "");

}  // namespace llmc
