// Random orders that are the same on every machine and with every standard library; the order of std::shuffle is the
// implementation's own affair.
#pragma once

#include <cstdint>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

namespace llmc {

// What a run draws from its one seed; two purposes never share a sequence.
enum class RandomStream : uint64_t { subset = 1, epoch = 2 };

// SplitMix64 (Steele, Lea and Flood 2014): a counter through a bijective mixer, so any start is a good one.
class SplitMix64 {
  public:
    SplitMix64(uint64_t seed, RandomStream stream, uint64_t counter = 0)
        : state_(mix(mix(seed + static_cast<uint64_t>(stream) * kGolden) + counter * kGolden)) {}

    uint64_t next() { return mix(state_ += kGolden); }

    // Uniform over 0 .. n-1: values that would favour the small ones are drawn again.
    uint64_t below(uint64_t n) {
        const uint64_t uneven = -n % n;  // 2^64 mod n
        while (true) {
            const uint64_t value = next();
            if (value >= uneven) return value % n;
        }
    }

  private:
    static constexpr uint64_t kGolden = 0x9E3779B97F4A7C15;
    static uint64_t mix(uint64_t z) {
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return z ^ (z >> 31);
    }
    uint64_t state_;
};

// Fisher and Yates.
template <class T>
void shuffle(std::span<T> values, SplitMix64& random) {
    for (size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[random.below(i)]);
}

// 0 .. n-1 in random order.
inline std::vector<int64_t> permutation(int64_t n, uint64_t seed, RandomStream stream, uint64_t counter = 0) {
    std::vector<int64_t> order(n);
    std::iota(order.begin(), order.end(), int64_t{0});
    SplitMix64 random(seed, stream, counter);
    shuffle(std::span(order), random);
    return order;
}

}  // namespace llmc
