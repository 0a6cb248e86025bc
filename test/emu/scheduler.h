// Runs the threads of one block, each as a fibre, and makes them meet at barriers and in warp collectives.
#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <source_location>
#include <string>
#include <vector>

#include "test/emu/emulator.h"
#include "test/emu/fibre.h"
#include "test/emu/poisoned_memory.h"
#include "test/emu/vector_types.h"

namespace emu {

constexpr int kWarpSize = 32;

// What the lanes of a warp do as one. arguments[l] is what lane l passed, null where l is not in the mask.
using Together = void (*)(void* const (&arguments)[kWarpSize]);

// What the blocks of a launch share. run_thread(kernel) calls the kernel as one of its threads.
struct Launch {
    const char* name;
    dim3 grid, block;
    size_t shared_bytes;
    void (*run_thread)(const void* kernel);
    const void* kernel;
    Schedule schedule;
    uint64_t seed;
};

class Scheduler {
  public:
    // Each OS thread has one, whose stacks serve one block after the other.
    static Scheduler& of_this_os_thread();

    // Runs all threads of a block to their end. Throws Error.
    void run(const Launch& launch, uint64_t block);

    // The rest is for the threads of the running block.

    // Waits until all threads of the block wait at this very line.
    void barrier(const char* what, std::source_location where);
    // A barrier that returns how many threads came with a true predicate.
    int vote(const char* what, bool predicate, std::source_location where);
    // Waits until all lanes of the mask have made the same call; the last one runs together(arguments), which may be
    // null, on behalf of all.
    void collective(const char* what, uint32_t mask, void* argument, Together together, std::source_location where);
    // Counts the blocks that this OS thread has run, the running one included.
    uint64_t blocks_begun() const { return blocks_begun_; }
    // The block's dynamic shared memory.
    void* shared_memory() const { return shared_.data(); }
    // Throws Error naming kernel, block and thread.
    [[noreturn]] void fail(const std::string& what) const;

  private:
    enum class State : uint8_t { ready, at_barrier, in_collective, exited };

    struct Thread {
        Fibre fibre;
        uint3 index;
        State state;
        // What it waits for now, or waited for last.
        const char* what;
        std::source_location where;
        uint32_t mask;  // 0 at a barrier
        void* argument;
    };

    static void thread_main(void* self);
    void run_warp(int warp);
    void resume(int thread);
    void wait(State state);
    void release_barrier();
    [[noreturn]] void fail_stuck();
    std::string waiting_for(int thread) const;
    static std::string place(const Thread& thread);
    std::string block_name() const;
    int count_of(State state) const;
    void order(std::vector<int>& items, int count);
    uint64_t random();

    const Launch* launch_ = nullptr;
    uint64_t blocks_begun_ = 0;
    int n_threads_ = 0;
    int current_ = 0;  // the thread that runs, or that an error is about
    Fibre scheduler_fibre_;
    std::vector<std::unique_ptr<Thread>> threads_;  // grows to the largest block so far
    std::vector<uint32_t> in_collective_;           // of each warp: the lanes that wait in one
    std::vector<int> warp_order_, lane_order_;
    int votes_ = 0, last_votes_ = 0;
    PoisonedMemory shared_;
    std::exception_ptr error_;  // what the thread that just stopped threw
    uint64_t random_state_ = 0;
};

}  // namespace emu
