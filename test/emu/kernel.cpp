#include "test/emu/kernel.h"

#include <atomic>
#include <exception>
#include <numeric>

#include "llmc/core/error.h"
#include "test/emu/emulator.h"
#include "test/emu/machine.h"
#include "test/emu/memory.h"
#include "test/emu/scheduler.h"

namespace emu {
namespace {

Schedule current_schedule = Schedule::forward;
uint64_t current_seed = 1;
std::atomic<int64_t> launches = 0;

// With fewer threads the blocks run one after the other: waking the cores takes longer.
constexpr uint64_t kThreadsWorthSharing = 4096;

cudaError_t check_configuration(const void* identity, dim3 grid, dim3 block, size_t shared_bytes) {
    const uint64_t threads = uint64_t{block.x} * block.y * block.z;
    const bool grid_fits =
        grid.x > 0 && grid.x <= 0x7fffffff && grid.y > 0 && grid.y <= 65535 && grid.z > 0 && grid.z <= 65535;
    const bool block_fits = threads > 0 && threads <= 1024 && block.x <= 1024 && block.y <= 1024 && block.z <= 64;
    if (!grid_fits || !block_fits) return cudaErrorInvalidConfiguration;
    return shared_bytes > shared_memory_allowed(identity) ? cudaErrorInvalidValue : cudaSuccess;
}

// The order in which blocks take turns: turn -> block.
class BlockOrder {
  public:
    BlockOrder(Schedule schedule, uint64_t seed, uint64_t blocks) : blocks_(blocks) {
        if (schedule == Schedule::reversed) stride_ = blocks - 1, offset_ = blocks - 1;
        if (schedule == Schedule::shuffled) {
            offset_ = seed % blocks;
            stride_ = 1 + seed * 7919 % blocks;
            while (std::gcd(stride_, blocks) != 1) stride_++;
        }
    }
    uint64_t operator()(uint64_t turn) const { return (turn * stride_ + offset_) % blocks_; }

  private:
    uint64_t blocks_, stride_ = 1, offset_ = 0;
};

}  // namespace

void set_schedule(Schedule schedule, uint64_t seed) {
    current_schedule = schedule;
    current_seed = seed;
}

int64_t kernels_launched() {
    return launches;
}

void check_argument(const char* kernel, size_t index, const void* address) {
    if (address && !device_accessible(address, 0))
        throw Error(
            llmc::concat("kernel ", kernel, ": argument ", index, " points to memory that is not the device's"));
}

void run_grid(const char* name, const void* identity, dim3 grid, dim3 block, size_t shared_bytes,
              void (*run_thread)(const void* kernel), const void* kernel) {
    if (report(check_configuration(identity, grid, block, shared_bytes)) != cudaSuccess) return;
    launches++;

    const Launch launch{name, grid, block, shared_bytes, run_thread, kernel, current_schedule, current_seed};
    const uint64_t blocks = uint64_t{grid.x} * grid.y * grid.z;
    const uint64_t threads = blocks * block.x * block.y * block.z;
    const BlockOrder order(current_schedule, current_seed, blocks);
    std::exception_ptr error;
    std::atomic<bool> failed = false;
#pragma omp parallel for schedule(dynamic) if (blocks > 1 && threads >= kThreadsWorthSharing)
    for (uint64_t turn = 0; turn < blocks; turn++) {
        if (failed) continue;
        try {
            Scheduler::of_this_os_thread().run(launch, order(turn));
        } catch (...) {
            if (!failed.exchange(true)) error = std::current_exception();
        }
    }
    if (error) std::rethrow_exception(error);
    if (const std::string overrun = find_overrun(); !overrun.empty())
        throw Error(llmc::concat("kernel ", name, ": ", overrun));
}

}  // namespace emu
