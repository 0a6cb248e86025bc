// How long a call takes on the GPU, and what this GPU was measured to reach.
//
// A time is the median of many runs, after one that loads the kernel; the spread is half the distance between their
// quartiles. Before each run L2 is filled with something else, so that operands come from memory, as they do in a
// training step; the GPU is still busy with that when the call is launched, so that no time is lost to the launch.
#pragma once

#include <algorithm>
#include <functional>
#include <vector>

#include "dev/cuda/tensor.cuh"
#include "dev/report.h"
#include "llmc/cuda/peak.cuh"
#include "llmc/cuda/rows.cuh"
#include "llmc/cuda/runtime/stopwatch.cuh"

namespace benchmark {

struct Time {
    double seconds = 0, spread = 0;
    int runs = 0;
};

class Clock {
  public:
    Clock(int64_t l2_bytes, bool quick) : l2_(2, l2_bytes), quick_(quick) {}

    // As many runs as fit half a second, 5 to 101; quick: a tenth, 3 to 21.
    Time time(const std::function<void()>& call) {
        const double budget = quick_ ? 0.1 : 0.5;
        const size_t least = quick_ ? 3 : 5, most = quick_ ? 21 : 101;
        run(call);
        std::vector<double> seconds;
        double total = 0;
        while (seconds.size() < least || (seconds.size() < most && total < budget)) {
            seconds.push_back(run(call));
            total += seconds.back();
        }
        std::ranges::sort(seconds);
        const size_t n = seconds.size();
        return {seconds[n / 2], 0.5 * (seconds[n - 1 - n / 4] - seconds[n / 4]), static_cast<int>(n)};
    }

  private:
    double run(const std::function<void()>& call) {
        l2_.poison();
        watch_.start();
        call();
        return 1e-3 * static_cast<double>(watch_.stop());
    }

    Tensor<uint8_t> l2_;
    cuda::Stopwatch watch_{nullptr};
    bool quick_;
};

// The most that a second can hold, measured at first use: bytes of a plain copy, read and written; operations of large
// square products by cuBLASLt.
template <class T>
class Ceilings {
  public:
    Ceilings(const cuda::Device<T>& device, Clock& clock) : device_(device), clock_(clock) {}

    double of(Unit unit) {
        if (unit == Unit::bytes) {
            if (copy_ == 0) copy_ = measure_copy();
            return copy_;
        }
        if (peak_.int8_operations == 0) peak_ = cuda::measure_peak(device_);
        return unit == Unit::int8_operations ? peak_.int8_operations : peak_.float_operations;
    }

  private:
    // 256 MiB each way, several times any L2; the better of a kernel and of the driver's own copy.
    double measure_copy() {
        const Tensor<T> from(1 << 14, (1 << 14) / sizeof(T), 1), to(from.rows(), from.cols());
        const double kernel = clock_.time([&] { cuda::copy<T>(device_, to.view(), from.view()); }).seconds;
        const double driver = clock_.time([&] { to.copy_from(from); }).seconds;
        return 2 * static_cast<double>(from.bytes()) / std::min(kernel, driver);
    }

    const cuda::Device<T>& device_;
    Clock& clock_;
    double copy_ = 0;
    Peak peak_;
};

}  // namespace benchmark
