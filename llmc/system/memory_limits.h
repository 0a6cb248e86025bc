// How much memory this process may still take, and the most it has taken.
//
//   available = min( MemAvailable of /proc/meminfo,
//                    limit - usage + reclaimable page cache of the tightest control group (v2, or v1) around us,
//                    RLIMIT_AS - address space already mapped )
//
// A container or a batch system kills a process that exceeds its control group's limit, however much the machine has
// left.
#pragma once

#include <cstdint>
#include <string>

namespace llmc {

// Bytes. `root` is prepended to /proc and /sys paths, for the tests.
int64_t available_memory(const std::string& root = "");

// The part of RLIMIT_AS alone; INT64_MAX if there is no such limit.
int64_t address_space_room(const std::string& root = "");

// The largest resident set of this process so far, in bytes.
int64_t peak_resident_memory();

// Returns to the system what malloc keeps of freed memory: between two phases of a run, if the next has no use for it.
void give_back_freed_memory();

// From here on, an allocation that fails in a parallel region, which no exception may leave, ends the program with a
// message and status 1; elsewhere it throws std::bad_alloc as usual. Under RLIMIT_AS all threads share one malloc
// arena: arenas of their own would each take 64 MiB of the limit.
void prepare_for_little_memory();

}  // namespace llmc
