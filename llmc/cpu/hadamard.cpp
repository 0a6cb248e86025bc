#include "llmc/cpu/hadamard.h"

#include <cstring>

#include "llmc/cpu/gemm/unroll.h"

namespace cpu {

namespace {

// One block of kBlock floats, as kBlock/8 vectors. Three levels lie within a vector, the others between vectors.
template <int kBlock>
void hadamard_of_block(float* x) {
    using Eight = float __attribute__((vector_size(32)));
    constexpr int kEights = kBlock / 8;
    constexpr Eight odd = {1, -1, 1, -1, 1, -1, 1, -1}, odd_pairs = {1, 1, -1, -1, 1, 1, -1, -1},
                    upper = {1, 1, 1, 1, -1, -1, -1, -1};
    Eight v[kEights];
    LLMC_UNROLL
    for (int i = 0; i < kEights; i++) {
        Eight eight;
        std::memcpy(&eight, x + 8 * i, sizeof eight);
        eight = eight * odd + __builtin_shufflevector(eight, eight, 1, 0, 3, 2, 5, 4, 7, 6);
        eight = eight * odd_pairs + __builtin_shufflevector(eight, eight, 2, 3, 0, 1, 6, 7, 4, 5);
        eight = eight * upper + __builtin_shufflevector(eight, eight, 4, 5, 6, 7, 0, 1, 2, 3);
        v[i] = eight;
    }
    LLMC_UNROLL
    for (int apart = 1; apart < kEights; apart *= 2) {
        LLMC_UNROLL
        for (int i = 0; i < kEights; i++) {
            if ((i & apart) != 0) continue;
            const Eight sum = v[i] + v[i + apart];
            v[i + apart] = v[i] - v[i + apart];
            v[i] = sum;
        }
    }
    LLMC_UNROLL
    for (int i = 0; i < kEights; i++) {
        v[i] *= hadamard_factor(kBlock);
        std::memcpy(x + 8 * i, &v[i], sizeof v[i]);
    }
}

template <int kBlock>
void hadamard_of_blocks(float* x, int64_t width) {
    for (int64_t i = 0; i < width; i += kBlock) hadamard_of_block<kBlock>(x + i);
}

}  // namespace

void hadamard_row(float* x, int64_t width, int64_t block) {
    if (block == 64) return hadamard_of_blocks<64>(x, width);
    if (block == 32) return hadamard_of_blocks<32>(x, width);
    if (block == 16) return hadamard_of_blocks<16>(x, width);
    if (block == 8) return hadamard_of_blocks<8>(x, width);
}

}  // namespace cpu
