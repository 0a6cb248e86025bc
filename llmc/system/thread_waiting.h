// How threads wait for each other.
#pragma once

namespace llmc {

// Has OpenMP's threads look for new work a few hundred times where they wait, some microseconds, and sleep then.
// Its own choice is to look for milliseconds: on a machine that has other work as well, the one that looks keeps the
// core from the one it waits for, and a step takes ten times as long. To sleep at once is no better: who is woken is
// often put on the core of who woke him, and the two threads of a small model share one while the other idles. GNU's
// OpenMP can be told so by the environment alone, before the program begins: the program starts itself again, once, in
// the same process. Where the user has chosen a policy nothing happens; where it cannot start again it goes on as it
// is.
void restart_with_passive_waiting(char** argv);

}  // namespace llmc
