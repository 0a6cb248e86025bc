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

// Of this, what RLIMIT_AS leaves; INT64_MAX where there is no such limit.
int64_t address_space_room(const std::string& root = "");

// The largest resident set of this process so far, in bytes.
int64_t peak_resident_memory();

// Gives the system back what was freed and malloc kept for later. Between two phases of a run of which the next has no
// use for it.
void give_back_freed_memory();

// From here on, where an allocation fails within a parallel region, which no exception may leave, the program says so
// and ends with status 1; elsewhere std::bad_alloc is thrown as ever. Under RLIMIT_AS all threads share malloc's one
// arena, for each of their own would take 64 MiB of the limit.
void prepare_for_little_memory();

}  // namespace llmc
