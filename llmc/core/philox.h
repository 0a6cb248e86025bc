// Philox4x32-10: random numbers without state. Four 32-bit words are a function of a 128-bit counter and a 64-bit key,
// so any thread, on any device, in the forward or in a recompute, gets the bits of element (n, c) by asking for them.
//
// One round, with the multipliers M0, M1 and the key advanced by the Weyl constants W0, W1 after each:
//
//   (x0, x1, x2, x3) <- (hi(M1 x2) ^ x1 ^ k0,  lo(M1 x2),  hi(M0 x0) ^ x3 ^ k1,  lo(M0 x0))
//
// Salmon, Moraes, Dror and Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3"; Random123's philox4x32 with 10
// rounds.
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define LLMC_HOST_DEVICE __host__ __device__
#else
#define LLMC_HOST_DEVICE
#endif

namespace llmc {

struct PhiloxWords {
    uint32_t x0, x1, x2, x3;
};

struct PhiloxKey {
    uint32_t k0, k1;
};

LLMC_HOST_DEVICE inline PhiloxWords philox4x32_10(PhiloxWords counter, PhiloxKey key) {
    for (int round = 0; round < 10; round++) {
        const uint64_t product0 = uint64_t{0xD2511F53u} * counter.x0;
        const uint64_t product1 = uint64_t{0xCD9E8D57u} * counter.x2;
        counter = {static_cast<uint32_t>(product1 >> 32) ^ counter.x1 ^ key.k0, static_cast<uint32_t>(product1),
                   static_cast<uint32_t>(product0 >> 32) ^ counter.x3 ^ key.k1, static_cast<uint32_t>(product0)};
        key.k0 += 0x9E3779B9u;
        key.k1 += 0xBB67AE85u;
    }
    return counter;
}

}  // namespace llmc
