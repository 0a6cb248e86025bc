#include "llmc/data/sampler.h"

#include <algorithm>
#include <functional>
#include <numeric>

#include "llmc/core/error.h"
#include "llmc/core/integers.h"
#include "llmc/core/program.h"
#include "llmc/data/examples.h"
#include "llmc/data/shuffle.h"

namespace llmc {
namespace {

int64_t length(const Example& example) {
    return static_cast<int64_t>(example.input_ids.size());
}

}  // namespace

void BatchLimits::include(const BatchLimits& other) {
    max_tokens = std::max(max_tokens, other.max_tokens);
    max_sequence_length = std::max(max_sequence_length, other.max_sequence_length);
    max_labelled = std::max(max_labelled, other.max_labelled);
    max_sequences = std::max(max_sequences, other.max_sequences);
}

Sampler::Sampler(std::span<const Example> examples, int64_t batch_size, uint64_t seed, int64_t group)
    : batch_size_(batch_size), seed_(seed) {
    require(!examples.empty(), "there are no examples to sample from");
    require(batch_size >= 1, program().batch_size, " must be at least 1, not ", batch_size);
    require(group >= 1, "a group has at least one micro-batch, not ", group);
    sizes_.reserve(examples.size());
    for (const Example& example : examples) sizes_.push_back({length(example), count_labelled(example)});
    group_ = std::clamp<int64_t>(n_examples() / (4 * batch_size), 1, group);
}

int64_t Sampler::micro_batches_per_epoch() const {
    return ceil_div(n_examples(), batch_size_);
}

int64_t Sampler::steps_per_epoch(int64_t accumulation) const {
    return ceil_div(micro_batches_per_epoch(), accumulation);
}

const std::vector<int64_t>& Sampler::order(int64_t epoch) const {
    if (epoch == ordered_epoch_) return order_;
    RandomSequence random(seed_, RandomStream::epoch, static_cast<uint32_t>(epoch));
    std::vector<int64_t> examples(n_examples());
    std::iota(examples.begin(), examples.end(), int64_t{0});
    shuffle(std::span(examples), random);

    // Examples that do not fill a micro-batch are not sorted: they would always be the shortest.
    const int64_t n_full = n_examples() / batch_size_;
    const int64_t group_size = group_ * batch_size_;
    for (int64_t begin = 0; group_ > 1 && begin < n_full * batch_size_; begin += group_size) {
        const int64_t end = std::min(begin + group_size, n_full * batch_size_);
        std::stable_sort(examples.begin() + begin, examples.begin() + end,
                         [&](int64_t a, int64_t b) { return sizes_[a].tokens > sizes_[b].tokens; });
    }

    std::vector<int64_t> micro_batches(n_full);
    std::iota(micro_batches.begin(), micro_batches.end(), int64_t{0});
    shuffle(std::span(micro_batches), random);
    order_.clear();
    order_.reserve(n_examples());
    for (int64_t m : micro_batches)
        order_.insert(order_.end(), examples.begin() + m * batch_size_, examples.begin() + (m + 1) * batch_size_);
    order_.insert(order_.end(), examples.begin() + n_full * batch_size_, examples.end());
    ordered_epoch_ = epoch;
    return order_;
}

std::vector<int64_t> Sampler::micro_batch(int64_t epoch, int64_t index) const {
    require(epoch >= 0 && index >= 0 && index < micro_batches_per_epoch(), "there is no micro-batch ", index,
            " of epoch ", epoch, ": an epoch has ", micro_batches_per_epoch());
    const std::vector<int64_t>& examples = order(epoch);
    const int64_t begin = index * batch_size_;
    return {examples.begin() + begin, examples.begin() + std::min(begin + batch_size_, n_examples())};
}

Window Sampler::window(int64_t step, int64_t accumulation) const {
    const int64_t steps = steps_per_epoch(accumulation);
    const int64_t first = step % steps * accumulation;
    return {step / steps, first, std::min(accumulation, micro_batches_per_epoch() - first)};
}

Totals Sampler::size_of(int64_t epoch, int64_t index) const {
    Totals size;
    for (const int64_t example : micro_batch(epoch, index)) {
        size.tokens += sizes_[example].tokens;
        size.labelled += sizes_[example].labelled;
    }
    return size;
}

Totals Sampler::totals(const Window& window) const {
    Totals totals;
    for (int64_t m = window.first; m < window.first + window.count; ++m) {
        const Totals size = size_of(window.epoch, m);
        totals.tokens += size.tokens;
        totals.labelled += size.labelled;
    }
    return totals;
}

std::vector<int64_t> Sampler::share(const Window& window, int64_t rank, int64_t ranks) const {
    std::vector<int64_t> all(window.count), tokens(window.count), mine;
    std::iota(all.begin(), all.end(), int64_t{0});
    if (ranks > 1) {
        for (const int64_t i : all) tokens[i] = size_of(window.epoch, window.first + i).tokens;
        std::stable_sort(all.begin(), all.end(), [&](int64_t a, int64_t b) { return tokens[a] > tokens[b]; });
    }
    for (int64_t round = 0; round * ranks < window.count; ++round) {
        const int64_t place = round * ranks + (round % 2 == 0 ? rank : ranks - 1 - rank);
        if (place < window.count) mine.push_back(window.first + all[place]);
    }
    return mine;
}

// The longest sequences together, and those with the most labels.
BatchLimits Sampler::worst_micro_batch() const {
    const int64_t n = std::min(batch_size_, n_examples());
    const auto sum_of_largest = [&](int64_t Totals::*size) {
        std::vector<int64_t> sizes(sizes_.size());
        std::ranges::transform(sizes_, sizes.begin(), size);
        std::ranges::nth_element(sizes, sizes.begin() + (n - 1), std::greater<>());
        return std::accumulate(sizes.begin(), sizes.begin() + n, int64_t{0});
    };
    return {.max_tokens = sum_of_largest(&Totals::tokens),
            .max_sequence_length = std::ranges::max(sizes_, {}, &Totals::tokens).tokens,
            .max_labelled = sum_of_largest(&Totals::labelled),
            .max_sequences = n};
}

BatchLimits Sampler::limits(int64_t first_step, int64_t end_step, int64_t accumulation) const {
    const int64_t most_epochs = std::max<int64_t>(kExact / n_examples(), 4);
    if (end_step - first_step > most_epochs * steps_per_epoch(accumulation)) return worst_micro_batch();
    BatchLimits limits;
    for (int64_t step = first_step; step < end_step; ++step) {
        const Window window = this->window(step, accumulation);
        const std::vector<int64_t>& examples = order(window.epoch);
        for (int64_t m = window.first; m < window.first + window.count; ++m) {
            BatchLimits one;
            const int64_t end = std::min((m + 1) * batch_size_, n_examples());
            for (int64_t i = m * batch_size_; i < end; ++i) {
                const Totals& size = sizes_[examples[i]];
                one.max_tokens += size.tokens;
                one.max_sequence_length = std::max(one.max_sequence_length, size.tokens);
                one.max_labelled += size.labelled;
                ++one.max_sequences;
            }
            limits.include(one);
        }
    }
    return limits;
}

std::vector<std::vector<int64_t>> sequential_batches(std::span<const Example> examples, int64_t batch_size,
                                                     int64_t max_tokens) {
    require(batch_size >= 1, program().batch_size, " must be at least 1, not ", batch_size);
    std::vector<std::vector<int64_t>> batches;
    int64_t n_tokens = 0;
    for (int64_t i = 0; i < static_cast<int64_t>(examples.size()); ++i) {
        const int64_t more = length(examples[i]);
        const bool full = batches.empty() || static_cast<int64_t>(batches.back().size()) == batch_size ||
                          (max_tokens > 0 && n_tokens + more > max_tokens);
        if (full) {
            batches.emplace_back();
            n_tokens = 0;
        }
        batches.back().push_back(i);
        n_tokens += more;
    }
    return batches;
}

BatchLimits batch_limits(std::span<const Example> examples, std::span<const std::vector<int64_t>> batches) {
    BatchLimits limits;
    for (const std::vector<int64_t>& batch : batches) {
        BatchLimits one;
        for (int64_t i : batch) {
            one.max_tokens += length(examples[i]);
            one.max_sequence_length = std::max(one.max_sequence_length, length(examples[i]));
            one.max_labelled += count_labelled(examples[i]);
            ++one.max_sequences;
        }
        limits.include(one);
    }
    return limits;
}

}  // namespace llmc
