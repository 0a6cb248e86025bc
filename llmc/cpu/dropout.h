// Dropout whose mask is a function of its name (DropoutStream) and is drawn again wherever it is needed.
//
//   mask[n,c] = bits(stream, n, c) >= p 2^16         sixteen bits a channel, eight channels a Philox call
//   forward    out = mask x / (1-p)                  out may be x
//   backward   dx += mask dout / (1-p)
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>

#ifdef __AVX2__
#include <immintrin.h>
#endif

#include "llmc/core/operator_options.h"
#include "llmc/cpu/device.h"

namespace cpu {

// One 64-bit lane per Philox counter. A round reads the low half of a lane and leaves a whole product in it: six
// instructions without a shuffle. The compiler's own vectorisation of philox4x32_10 is no faster than scalar code.
#if defined(__AVX512F__)
constexpr int kPhiloxLanes = 8;
#elif defined(__AVX2__)
constexpr int kPhiloxLanes = 4;
#else
constexpr int kPhiloxLanes = 2;
#endif
using PhiloxLanes [[gnu::vector_size(8 * kPhiloxLanes)]] = uint64_t;

inline PhiloxLanes multiply_low_halves(PhiloxLanes a, PhiloxLanes b) {
#if defined(__AVX512F__)
    return reinterpret_cast<PhiloxLanes>(
        _mm512_maskz_mul_epu32(0xff, reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
#elif defined(__AVX2__)
    return reinterpret_cast<PhiloxLanes>(_mm256_mul_epu32(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
#else
    return (a & 0xffffffffu) * (b & 0xffffffffu);
#endif
}

// a[first], b[first], a[first + 1], b[first + 1], ..: half of the lanes of each.
template <int first, int... lane>
PhiloxLanes interleave(PhiloxLanes a, PhiloxLanes b, std::integer_sequence<int, lane...>) {
    return __builtin_shufflevector(a, b, (first + lane / 2 + lane % 2 * kPhiloxLanes)...);
}

// The bits of channels 8 c8 .. 8 (c8 + kPhiloxLanes) - 1 of row n: dropout_words of kPhiloxLanes counters.
inline void dropout_bits(uint16_t* bits, const DropoutStream& stream, uint32_t n, uint32_t c8) {
    PhiloxLanes x0{};
    for (int lane = 0; lane < kPhiloxLanes; lane++) x0[lane] = c8 + static_cast<uint32_t>(lane);
    PhiloxLanes x1 = PhiloxLanes{} + n;
    PhiloxLanes x2 = PhiloxLanes{} + stream.layer_id;
    PhiloxLanes x3 = PhiloxLanes{} + stream.micro_batch;
    uint32_t k0 = static_cast<uint32_t>(stream.seed);
    uint32_t k1 = static_cast<uint32_t>((stream.seed ^ stream.micro_batch) >> 32);
    for (int round = 0; round < 10; round++) {
        const PhiloxLanes product0 = multiply_low_halves(x0, PhiloxLanes{} + 0xD2511F53u);
        const PhiloxLanes product1 = multiply_low_halves(x2, PhiloxLanes{} + 0xCD9E8D57u);
        x0 = (product1 >> 32) ^ x1 ^ (PhiloxLanes{} + k0);
        x1 = product1;
        x2 = (product0 >> 32) ^ x3 ^ (PhiloxLanes{} + k1);
        x3 = product0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    // Two words to a lane, then the lanes of a counter next to each other.
    const PhiloxLanes words01 = (x0 & 0xffffffffu) | (x1 << 32);
    const PhiloxLanes words23 = (x2 & 0xffffffffu) | (x3 << 32);
    constexpr std::make_integer_sequence<int, kPhiloxLanes> lanes;
    const PhiloxLanes ordered[2] = {interleave<0>(words01, words23, lanes),
                                    interleave<kPhiloxLanes / 2>(words01, words23, lanes)};
    std::memcpy(bits, ordered, sizeof ordered);
}

// Calls visit(n, c, mask / (1-p)) for every element of a rows x cols matrix.
template <class T, class Visit>
void for_each_dropout_factor(const Device& device, int64_t rows, int64_t cols, float p, const DropoutStream& stream,
                             Visit visit) {
    require(p >= 0.0f && p < 1.0f, "dropout ", p, " is not in [0, 1)");
    const uint32_t threshold = dropout_threshold(p);
    const T keep = dropout_keep_factor(p);
    constexpr int64_t kBlock = 256;  // channels whose bits are drawn at once
#pragma omp parallel for num_threads(device.threads) schedule(static)
    for (int64_t n = 0; n < rows; n++) {
        alignas(64) uint16_t bits[kBlock];
        for (int64_t begin = 0; begin < cols; begin += kBlock) {
            const int64_t count = std::min(kBlock, cols - begin);
            for (int64_t c = 0; c < count; c += 8 * kPhiloxLanes) {
                dropout_bits(bits + c, stream, static_cast<uint32_t>(n), static_cast<uint32_t>((begin + c) / 8));
            }
#pragma omp simd
            for (int64_t c = 0; c < count; c++) visit(n, begin + c, bits[c] >= threshold ? keep : T{0});
        }
    }
}

template <class T>
void dropout_forward(const Device& device, Matrix<T> out, ConstMatrix<T> x, float p, const DropoutStream& stream) {
    for_each_dropout_factor<T>(device, out.rows, out.cols, p, stream,
                               [=](int64_t n, int64_t c, T factor) { out(n, c) = x(n, c) * factor; });
}

template <class T>
void dropout_backward(const Device& device, Matrix<T> dx, ConstMatrix<T> dout, float p, const DropoutStream& stream) {
    for_each_dropout_factor<T>(device, dx.rows, dx.cols, p, stream,
                               [=](int64_t n, int64_t c, T factor) { dx(n, c) += dout(n, c) * factor; });
}

}  // namespace cpu
