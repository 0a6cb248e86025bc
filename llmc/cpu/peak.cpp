// Every thread multiplies tiles of its own that stay in its L2, so that neither memory nor a barrier matters. The best
// of several short rounds counts, because other programs can only slow a round down. int8 and bf16 operands are packed
// before, so theirs is the rate of the instructions; fp32 is that of oneDNN, which packs.
#include "llmc/cpu/peak.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <vector>

#include "llmc/cpu/gemm/bf16_avx512.h"
#include "llmc/cpu/gemm/bf16_tiles.h"
#include "llmc/cpu/gemm/int8_ways.h"
#include "llmc/cpu/gemm/onednn.h"

namespace cpu {

namespace {

constexpr int64_t kM = 192, kN = 192, kK = 768;

// Operations per second of `product`, which every thread calls on its own and which takes `operations`.
template <class Product>
double best_rate(const Device& device, double operations, const Product& product) {
    constexpr int kRounds = 4;
    constexpr double kRoundSeconds = 0.02;
    using Clock = std::chrono::steady_clock;
    double best = 0;
    for (int round = 0; round < kRounds; round++) {
        double rate = 0;  // of this round
#pragma omp parallel num_threads(device.threads) reduction(+ : rate)
        {
            product();  // warm: code, tiles and clock
#pragma omp barrier
            const auto begin = Clock::now();
            double seconds = 0;
            int64_t count = 0;
            do {
                product();
                count++;
                seconds = std::chrono::duration<double>(Clock::now() - begin).count();
            } while (seconds < kRoundSeconds);
            rate = operations * static_cast<double>(count) / seconds;
        }
        best = std::max(best, rate);
    }
    return best;
}

// Of packed operands.
double bf16_rate(const Device& device) {
    static constexpr int64_t kPairs = bf16::kDepth / 2;
    return best_rate(device, 4.0 * bf16::kRows * bf16::kPanel * kPairs, [] {
        thread_local std::vector<uint32_t> a(bf16::kRows * bf16::kPairStride, 0x3f803f80),
            b(bf16::kPanel * kPairs, 0x3f803f80);
        thread_local std::vector<float> y(bf16::kRows * bf16::kPanel);
        const bf16::Output out{y.data(), bf16::kPanel, bf16::kPanel, 1, 0};
#ifdef __x86_64__
        if (has_bf16_instructions())
            return bf16::multiply_rows<bf16::Avx512, true>(a.data(), bf16::kRows, b.data(), kPairs, out);
#endif
        bf16::multiply_rows<bf16::Portable, true>(a.data(), bf16::kRows, b.data(), kPairs, out);
    });
}

// Of floats, multiplied as the device does.
double float_rate(const Device& device) {
    if (device.products == Products::bf16) return bf16_rate(device);
    return best_rate(device, 2.0 * kM * kN * kK, [] {
        thread_local std::vector<float> a(kM * kK, 0.5f), b(kN * kK, 0.25f), c(kM * kN);
        check_onednn(dnnl_sgemm('N', 'T', kM, kN, kK, 1.0f, a.data(), kK, b.data(), kK, 0.0f, c.data(), kN),
                     "dnnl_sgemm", kM, kN, kK);
    });
}

}  // namespace

Peak measure_peak(const Device& device) {
    const OneDnnThreads one(1);
    Peak peak;
    peak.int8_operations = best_rate(device, 2.0 * kM * kN * kK, [] {
        thread_local std::vector<int8_t> a(kM * kK, 3), b(kN * kK, -5);
        thread_local std::vector<int32_t> c(kM * kN);
        int8_product()({c.data(), kM, kN}, {a.data(), kM, kK}, {b.data(), kN, kK}, /*transpose_b=*/true);
    });
    [[maybe_unused]] const auto try_kernel = [&](auto kernel) {
        using Kernel = decltype(kernel);
        if (!Kernel::is_supported()) return;
        const double rate = best_rate(device, 2.0 * kM * panels::kPanel * kK, [] {
            thread_local std::vector<int8_t> a(kM * kK, 3);
            thread_local std::vector<uint8_t> panel(Kernel::kDepth * panels::kPanel * Kernel::kPackedBytes, 5);
            thread_local std::vector<int32_t> sums(kM * panels::kPanel);
            const panels::Output nowhere{nullptr, 0, panels::kPanel, nullptr, nullptr, nullptr, nullptr, {}};
            panels::multiply_rows<Kernel>({a.data(), kM, kK}, panel.data(), sums.data(), true, false, nowhere);
        });
        peak.int8_operations = std::max(peak.int8_operations, rate);
    };
#ifdef __x86_64__
    try_kernel(Vnni{});
    try_kernel(Avx2{});
#endif
#ifdef __aarch64__
    try_kernel(Smmla{});
    try_kernel(Sdot{});
#endif
    peak.float_operations = float_rate(device);
    const Device backward = for_gradients(device);
    peak.gradient_operations = backward.products == device.products ? peak.float_operations : float_rate(backward);
    return peak;
}

}  // namespace cpu
