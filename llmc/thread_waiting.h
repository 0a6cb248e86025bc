// How threads wait for each other.
#pragma once

namespace llmc {

// Has OpenMP's threads sleep where they wait, and not turn in a loop for milliseconds: on a machine that has other work
// as well, the one that turns keeps the core from the one it waits for, and a step takes ten times as long. GNU's
// OpenMP can be told so by the environment alone, before the program begins: the program starts itself again, once, in
// the same process. Where that cannot be done, or the user has chosen a policy, nothing happens.
void let_threads_sleep(char** argv);

}  // namespace llmc
