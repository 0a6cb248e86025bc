#include "test/emu/scheduler.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <sstream>
#include <utility>

#include "llmc/core/error.h"
#include "llmc/core/integers.h"
#include "test/emu/thread_variables.h"

namespace emu {

using llmc::concat;

namespace {

std::string text(uint3 v) {
    return concat('(', v.x, ',', v.y, ',', v.z, ')');
}

std::string text(const std::source_location& where) {
    return concat(where.file_name(), ':', where.line());
}

uint3 coordinates(uint64_t linear, dim3 extent) {
    return {static_cast<unsigned>(linear % extent.x), static_cast<unsigned>(linear / extent.x % extent.y),
            static_cast<unsigned>(linear / extent.x / extent.y)};
}

bool same_line(const std::source_location& a, const std::source_location& b) {
    return a.line() == b.line() && std::strcmp(a.file_name(), b.file_name()) == 0;
}

}  // namespace

Scheduler& Scheduler::of_this_os_thread() {
    thread_local Scheduler scheduler;
    return scheduler;
}

void Scheduler::run(const Launch& launch, uint64_t block) {
    blocks_begun_++;
    launch_ = &launch;
    blockIdx = coordinates(block, launch.grid);
    blockDim = launch.block;
    gridDim = launch.grid;
    random_state_ = launch.seed + block;
    error_ = nullptr;
    votes_ = 0;
    if (shared_.size() == launch.shared_bytes)
        shared_.poison();
    else
        shared_ = PoisonedMemory(launch.shared_bytes);

    n_threads_ = static_cast<int>(launch.block.x * launch.block.y * launch.block.z);
    const int warps = llmc::ceil_div(n_threads_, kWarpSize);
    in_collective_.assign(static_cast<size_t>(warps), 0);
    while (static_cast<int>(threads_.size()) < n_threads_) threads_.push_back(std::make_unique<Thread>());
    for (int t = 0; t < n_threads_; t++) {
        threads_[t]->index = coordinates(static_cast<uint64_t>(t), launch.block);
        threads_[t]->state = State::ready;
        threads_[t]->fibre.start(&thread_main, this);
    }

    while (true) {
        order(warp_order_, warps);
        for (int warp : warp_order_) run_warp(warp);
        if (count_of(State::exited) == n_threads_) break;
        if (count_of(State::at_barrier) < n_threads_) fail_stuck();
        release_barrier();
    }
    if (const auto byte = shared_.overrun()) {
        shared_ = PoisonedMemory();
        throw Error(concat(block_name(), ": wrote byte ", *byte, " of ", launch.shared_bytes,
                           " bytes of dynamic shared memory"));
    }
}

// Runs the lanes of a warp, round after round, until each waits at the block's barrier or has returned.
void Scheduler::run_warp(int warp) {
    const int first = warp * kWarpSize;
    const int lanes = std::min(kWarpSize, n_threads_ - first);
    bool progress = true;
    while (progress) {
        progress = false;
        order(lane_order_, lanes);
        for (int lane : lane_order_) {
            if (threads_[first + lane]->state != State::ready) continue;
            resume(first + lane);
            progress = true;
        }
    }
}

void Scheduler::resume(int thread) {
    current_ = thread;
    threadIdx = threads_[thread]->index;
    scheduler_fibre_.switch_to(threads_[thread]->fibre);
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
}

void Scheduler::thread_main(void* self) {
    auto& scheduler = *static_cast<Scheduler*>(self);
    try {
        scheduler.launch_->run_thread(scheduler.launch_->kernel);
    } catch (...) {
        scheduler.error_ = std::current_exception();
    }
    Thread& thread = *scheduler.threads_[scheduler.current_];
    thread.state = State::exited;
    thread.fibre.leave_for_good(scheduler.scheduler_fibre_);
}

void Scheduler::wait(State state) {
    Thread& thread = *threads_[current_];
    thread.state = state;
    thread.fibre.switch_to(scheduler_fibre_);
}

void Scheduler::barrier(const char* what, std::source_location where) {
    Thread& thread = *threads_[current_];
    thread.what = what;
    thread.where = where;
    thread.mask = 0;
    wait(State::at_barrier);
}

int Scheduler::vote(const char* what, bool predicate, std::source_location where) {
    votes_ += predicate;
    barrier(what, where);
    return last_votes_;  // the next barrier cannot be complete before this thread has read them
}

void Scheduler::release_barrier() {
    for (int t = 1; t < n_threads_; t++)
        if (!same_line(threads_[t]->where, threads_[0]->where)) {
            current_ = t;
            fail(concat(waiting_for(t), ", while thread ", text(threads_[0]->index), ' ', waiting_for(0)));
        }
    for (int t = 0; t < n_threads_; t++) threads_[t]->state = State::ready;
    last_votes_ = std::exchange(votes_, 0);
}

void Scheduler::collective(const char* what, uint32_t mask, void* argument, Together together,
                           std::source_location where) {
    const int warp = current_ / kWarpSize, lane = current_ % kWarpSize;
    Thread& self = *threads_[current_];
    self.what = what;
    self.where = where;
    self.mask = mask;
    self.argument = argument;
    if ((mask >> lane & 1) == 0) fail(concat("calls ", place(self), ", which leaves out the calling lane ", lane));

    in_collective_[warp] |= 1u << lane;
    const auto takes_part = [&](const Thread& thread) {
        return thread.mask == mask && std::strcmp(thread.what, what) == 0;
    };
    bool complete = (in_collective_[warp] & mask) == mask;
    void* arguments[kWarpSize] = {};
    for (int l = 0; complete && l < kWarpSize; l++) {
        if ((mask >> l & 1) == 0) continue;
        const Thread& thread = *threads_[warp * kWarpSize + l];
        complete = takes_part(thread);
        arguments[l] = thread.argument;
    }
    if (!complete) return wait(State::in_collective);

    in_collective_[warp] &= ~mask;
    for (int l = 0; l < kWarpSize; l++)
        if (mask >> l & 1) threads_[warp * kWarpSize + l]->state = State::ready;
    if (together) together(arguments);
}

// No thread can continue, and not all wait at the barrier: says which thread another one waits for in vain.
void Scheduler::fail_stuck() {
    for (int t = 0; t < n_threads_; t++) {
        const Thread& thread = *threads_[t];
        if (thread.state != State::in_collective) continue;
        current_ = t;
        for (int lane = 0; lane < kWarpSize; lane++) {
            if ((thread.mask >> lane & 1) == 0) continue;
            const int other = t / kWarpSize * kWarpSize + lane;
            if (other >= n_threads_) fail(concat(waiting_for(t), ", but the block has no thread for lane ", lane));
            const Thread& absent = *threads_[other];
            if (absent.state == State::in_collective && absent.mask == thread.mask &&
                std::strcmp(absent.what, thread.what) == 0)
                continue;
            fail(concat(waiting_for(t), ", but lane ", lane, ' ', waiting_for(other)));
        }
    }
    int waiting = 0, returned = 0;
    while (threads_[waiting]->state != State::at_barrier) waiting++;
    while (threads_[returned]->state != State::exited) returned++;
    current_ = waiting;
    fail(concat(waiting_for(waiting), ", but thread ", text(threads_[returned]->index), ' ', waiting_for(returned)));
}

std::string Scheduler::waiting_for(int thread) const {
    const Thread& t = *threads_[thread];
    return t.state == State::exited ? "has returned" : "waits in " + place(t);
}

std::string Scheduler::place(const Thread& thread) {
    std::ostringstream out;
    out << thread.what << " at " << text(thread.where);
    if (thread.mask != 0) out << " with mask 0x" << std::hex << thread.mask;
    return out.str();
}

std::string Scheduler::block_name() const {
    return concat("kernel ", launch_->name, ", block ", text(blockIdx));
}

void Scheduler::fail(const std::string& what) const {
    throw Error(concat(block_name(), ", thread ", text(threads_[current_]->index), ": ", what));
}

int Scheduler::count_of(State state) const {
    return static_cast<int>(std::count_if(threads_.begin(), threads_.begin() + n_threads_,
                                          [&](const auto& thread) { return thread->state == state; }));
}

// 0 .. count-1 in the order of the schedule.
void Scheduler::order(std::vector<int>& items, int count) {
    items.resize(static_cast<size_t>(count));
    std::iota(items.begin(), items.end(), 0);
    if (launch_->schedule == Schedule::reversed) std::reverse(items.begin(), items.end());
    if (launch_->schedule == Schedule::shuffled)
        for (uint64_t i = items.size(); i > 1; i--) std::swap(items[i - 1], items[random() % i]);
}

// SplitMix64: Steele, Lea and Flood 2014.
uint64_t Scheduler::random() {
    uint64_t z = random_state_ += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

}  // namespace emu
