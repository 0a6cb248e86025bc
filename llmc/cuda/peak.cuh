// measure_peak(): see peak.h.
#pragma once

#include <algorithm>
#include <cstdint>

#include "llmc/cuda/gemm/fill_random.cuh"
#include "llmc/cuda/gemm/gemm.cuh"
#include "llmc/cuda/peak.h"
#include "llmc/cuda/runtime/stopwatch.cuh"

namespace cuda {

// Operations per second of y = a b^T, all square, on random numbers. 0 if there is no memory left.
template <class T, class In, class Out>
double product_rate(const Device<T>& device, int64_t size) {
    constexpr int kRounds = 5;
    const int64_t in_bytes = size * size * static_cast<int64_t>(sizeof(In)),
                  out_bytes = size * size * static_cast<int64_t>(sizeof(Out));
    void* memory = device.allocate(2 * in_bytes + out_bytes);
    if (!memory) return 0;
    In* operands = static_cast<In*>(memory);
    const Matrix<const In> a(operands, size, size), b(operands + size * size, size, size);
    const Matrix<Out> y(reinterpret_cast<Out*>(operands + 2 * size * size), size, size);
    fill_random(device, Matrix<In>(operands, 2 * size, size), 1);
    Stopwatch watch(device.stream);
    float best = 0;
    for (int round = 0; round <= kRounds; round++) {
        watch.start();
        device.blas->multiply(device.stream, blas_product(false, true, y, a, b, size), 1, b.data, a.data, 0, y.data);
        const float milliseconds = watch.stop();
        if (round > 0) best = best == 0 ? milliseconds : std::min(best, milliseconds);  // the first one warms up
    }
    device.release(memory, 2 * in_bytes + out_bytes);
    const double operations = 2.0 * static_cast<double>(size) * static_cast<double>(size) * static_cast<double>(size);
    return best > 0 ? operations / (1e-3 * static_cast<double>(best)) : 0;
}

template <class T>
Peak measure_peak(const Device<T>& device) {
#ifdef LLMC_EMULATED
    constexpr int64_t kSize = 32;  // an emulated product is slow
#else
    constexpr int64_t kSize = 8192;
#endif
    const double floats = product_rate<T, T, T>(device, kSize);
    return {product_rate<T, int8_t, int32_t>(device, kSize), floats, floats};
}

}  // namespace cuda
