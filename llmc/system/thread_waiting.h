// How threads wait for each other.
#pragma once

namespace llmc {

// Makes waiting OpenMP threads spin a few hundred times, some microseconds, and then sleep. By default they spin for
// milliseconds: on a busy machine a spinning thread keeps the core from the thread it waits for, and a step takes ten
// times as long. Sleeping at once is no better: a woken thread is often put on the core of the one that woke it, so
// that the two threads of a small model share a core while the other idles. GNU's OpenMP reads this setting from the
// environment, at program start only, so the program restarts itself, once, in the same process. Does nothing if the
// user has chosen a policy or if the restart fails.
void restart_with_passive_waiting(char** argv);

}  // namespace llmc
