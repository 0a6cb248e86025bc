// How much memory this process may still take, and how much it has taken at most.
//
//   available = min( MemAvailable of /proc/meminfo,
//                    limit - usage + reclaimable page cache of the tightest control group (v2, or v1) around us,
//                    RLIMIT_AS - address space already mapped )
//
// A container or a batch system kills what passes its control group's limit, however much the machine has left.
#pragma once

#include <cstdint>
#include <string>

namespace llmc {

// Bytes. `root` is prepended to /proc and /sys paths, for the tests.
int64_t available_memory(const std::string& root = "");

// The largest resident set of this process so far, in bytes.
int64_t peak_resident_memory();

}  // namespace llmc
