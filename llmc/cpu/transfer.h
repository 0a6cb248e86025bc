// Between host memory, where files, batches and checkpoints are, and device memory. Here the two are one.
//
//   upload           dst = src, which is in host memory
//   fill_from_host   dst = what fill(host matrix) writes into it
//   host_view        what the device holds, as the host can read it: in place, or copied to `staging`
//   InputStaging     the integers of micro-batches on their way to the device:
//                    next() is a buffer to fill, send() copies its first integers to their place
#pragma once

#include <algorithm>
#include <span>
#include <type_traits>
#include <vector>

#include "llmc/cpu/device.h"

namespace cpu {

inline void upload(const Device&, std::span<int32_t> dst, std::span<const int32_t> src) {
    std::ranges::copy(src, dst.begin());
}

template <class T, class Fill>
void fill_from_host(const Device&, Matrix<T> dst, const Fill& fill) {
    fill(dst);
}

template <class T>
Matrix<const T> host_view(const Device&, Matrix<T> src, std::vector<std::remove_const_t<T>>& /*staging*/) {
    return src;
}

class InputStaging {
  public:
    explicit InputStaging(int64_t capacity) : buffer_(static_cast<size_t>(capacity)) {}
    std::span<int32_t> next() { return buffer_; }
    void send(const Device&, std::span<int32_t> dst) const { std::copy_n(buffer_.begin(), dst.size(), dst.begin()); }

  private:
    std::vector<int32_t> buffer_;
};

// The device for work that has to be done on the host.
inline const Device& host_of(const Device& device) {
    return device;
}

}  // namespace cpu
