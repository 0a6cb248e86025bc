// Random orders that are the same on every machine and with every standard library; std::shuffle's is up to the
// implementation.
#pragma once

#include <cstdint>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include "llmc/core/philox.h"

namespace llmc {

// What is drawn from a run's one seed. Dropout puts layer numbers in the same place of Philox's counter; these lie
// beyond any layer's.
enum class RandomStream : uint32_t { subset = 0xFFFFFFFF, epoch = 0xFFFFFFFE, options = 0xFFFFFFFD };

// The random numbers of one purpose: of epoch 7, say, of a run with this seed.
class RandomSequence {
  public:
    RandomSequence(uint64_t seed, RandomStream stream, uint32_t number = 0)
        : key_{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)}, stream_(stream), number_(number) {}

    uint64_t next() {
        const PhiloxWords counter = {static_cast<uint32_t>(drawn_), static_cast<uint32_t>(drawn_ >> 32),
                                     static_cast<uint32_t>(stream_), number_};
        ++drawn_;
        const PhiloxWords words = philox4x32_10(counter, key_);
        return uint64_t{words.x1} << 32 | words.x0;
    }

    // Uniform over 0 .. n-1: values that would favour small results are drawn again.
    uint64_t below(uint64_t n) {
        const uint64_t uneven = -n % n;  // 2^64 mod n
        while (true) {
            const uint64_t value = next();
            if (value >= uneven) return value % n;
        }
    }

  private:
    PhiloxKey key_;
    RandomStream stream_;
    uint32_t number_;
    uint64_t drawn_ = 0;
};

// Fisher and Yates.
template <class T>
void shuffle(std::span<T> values, RandomSequence& random) {
    for (size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[random.below(i)]);
}

// 0 .. n-1 in random order.
inline std::vector<int64_t> permutation(int64_t n, uint64_t seed, RandomStream stream, uint32_t number = 0) {
    std::vector<int64_t> order(n);
    std::iota(order.begin(), order.end(), int64_t{0});
    RandomSequence random(seed, stream, number);
    shuffle(std::span(order), random);
    return order;
}

}  // namespace llmc
