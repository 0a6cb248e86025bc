// Between host memory, where files, batches and checkpoints are, and device memory.
//
//   upload           dst = src, which is in host memory
//   fill_from_host   dst = what fill(host matrix) writes into it, rounded to dst's type
//   host_view        what the device holds, copied to `staging`, as float where it is bf16 or fp16; all work before it
//                    is done when the function returns
//
// fill_from_host serves loading, not steps: it allocates, and waits until the copy is done.
#pragma once

#include <cuda_runtime.h>

#include <memory>
#include <span>
#include <type_traits>
#include <vector>

#include "llmc/core/dtype.h"
#include "llmc/cpu/device.h"
#include "llmc/cuda/device.cuh"

namespace cuda {

// What the host computes in instead of T.
template <class T>
using HostType = std::conditional_t<std::is_same_v<T, bf16> || std::is_same_v<T, fp16>, float, T>;

// What a 16-bit T is called in a file.
template <class T>
constexpr DType kStoredType = std::is_same_v<T, bf16> ? DType::bf16 : DType::f16;

// src must stay until the stream has been waited for: where the GPU reads host memory directly, nothing else copies it
// first.
template <class D>
void upload(const Device<D>& device, std::span<int32_t> dst, std::span<const int32_t> src) {
    require(src.size() <= dst.size(), "an upload of ", src.size(), " elements does not fit ", dst.size());
    if (src.empty()) return;
    CUDA_CHECK(cudaMemcpyAsync(dst.data(), src.data(), src.size_bytes(), cudaMemcpyHostToDevice, device.stream));
}

// Rows of `cols` elements from one memory to the other; waits.
template <class D, class T>
void copy_rows(const Device<D>& device, Matrix<T> dst, Matrix<const T> src, cudaMemcpyKind direction) {
    if (src.empty()) return;
    if (src.rows == 1 ||
        (src.contiguous() && dst.contiguous())) {  // a row may be longer than the pitch a 2D copy takes
        CUDA_CHECK(
            cudaMemcpyAsync(dst.data, src.data, static_cast<size_t>(src.size()) * sizeof(T), direction, device.stream));
        device.synchronize();
        return;
    }
    CUDA_CHECK(cudaMemcpy2DAsync(dst.data, static_cast<size_t>(dst.stride) * sizeof(T), src.data,
                                 static_cast<size_t>(src.stride) * sizeof(T), static_cast<size_t>(src.cols) * sizeof(T),
                                 static_cast<size_t>(src.rows), direction, device.stream));
    device.synchronize();
}

template <class D, class T, class Fill>
void fill_from_host(const Device<D>& device, Matrix<T> dst, const Fill& fill) {
    using Host = HostType<T>;
    const auto size = static_cast<size_t>(dst.size());
    const auto staging = std::make_unique_for_overwrite<Host[]>(size);
    fill(Matrix<Host>(staging.get(), dst.rows, dst.cols));
    if constexpr (std::is_same_v<T, Host>) {
        copy_rows<D, T>(device, dst, Matrix<const T>(staging.get(), dst.rows, dst.cols), cudaMemcpyHostToDevice);
    } else {
        const auto rounded = std::make_unique_for_overwrite<std::byte[]>(size * sizeof(T));
        in_pieces(dst.size(), [&](int64_t begin, int64_t end) {
            from_float(kStoredType<T>, staging.get() + begin, rounded.get() + begin * sizeof(T), end - begin);
        });
        const T* values = reinterpret_cast<const T*>(rounded.get());
        copy_rows<D, T>(device, dst, Matrix<const T>(values, dst.rows, dst.cols), cudaMemcpyHostToDevice);
    }
}

template <class D, class T>
Matrix<const HostType<std::remove_const_t<T>>> host_view(const Device<D>& device, Matrix<T> src,
                                                         std::vector<HostType<std::remove_const_t<T>>>& staging) {
    using Value = std::remove_const_t<T>;
    using Host = HostType<Value>;
    staging.resize(static_cast<size_t>(src.size()));
    const Matrix<Host> host(staging.data(), src.rows, src.cols);
    if constexpr (std::is_same_v<Value, Host>) {
        copy_rows<D, Value>(device, host, src, cudaMemcpyDeviceToHost);
    } else {
        const auto narrow = std::make_unique_for_overwrite<std::byte[]>(staging.size() * sizeof(Value));
        const Matrix<Value> copied(reinterpret_cast<Value*>(narrow.get()), src.rows, src.cols);
        copy_rows<D, Value>(device, copied, src, cudaMemcpyDeviceToHost);
        in_pieces(src.size(), [&](int64_t begin, int64_t end) {
            llmc::to_float(kStoredType<Value>, narrow.get() + begin * sizeof(Value), staging.data() + begin,
                           end - begin);
        });
    }
    return host;
}

// The device for work that has to be done on the host.
template <class D>
cpu::Device host_of(const Device<D>& /*device*/) {
    return {};
}

}  // namespace cuda
