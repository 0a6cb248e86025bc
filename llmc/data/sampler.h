// Which examples make up which micro-batch, for every epoch and step of a run.
//
// An epoch is a random order of all examples, drawn from (seed, epoch) alone and cut into micro-batches of batch_size
// sequences. Sequences of similar length share a micro-batch: the random order is taken in groups of micro-batches,
// each group is sorted by length before it is cut, and then the micro-batches are shuffled over the whole epoch, so
// that an optimiser step sees a random mix of lengths. The last micro-batch of an epoch has the examples that do not
// fill one.
//
// An optimiser step takes the next `accumulation` micro-batches of its epoch; the last step of an epoch takes what is
// left. A step never spans two epochs, so the loss of an epoch is that of all examples, each once.
//
// Micro-batches can be asked for in any order: a resumed run starts at its step, and data-parallel ranks each take
// their share of a window of ranks * accumulation micro-batches.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "llmc/data/batch.h"

namespace llmc {

// The largest sizes over some micro-batches: what memory is planned for.
struct BatchLimits {
    int64_t max_tokens = 0;
    int64_t max_sequence_length = 0;
    int64_t max_labelled = 0;
    int64_t max_sequences = 0;

    void include(const BatchLimits& other);
    bool operator==(const BatchLimits&) const = default;
};

// Micro-batches first .. first + count - 1 of an epoch: what an optimiser step takes.
struct Window {
    int64_t epoch = 0, first = 0, count = 0;
    bool operator==(const Window&) const = default;
};

struct Totals {
    int64_t tokens = 0, labelled = 0;
};

// Keeps the order of the epoch it was last asked for, so threads that call it at once need a Sampler each.
class Sampler {
  public:
    // group: micro-batches that are sorted by length together; 1: no sorting. A small data set uses smaller groups, so
    // that an epoch has at least four and its micro-batches differ from the next epoch's.
    static constexpr int64_t kGroup = 32;

    Sampler(std::span<const Example> examples, int64_t batch_size, uint64_t seed, int64_t group = kGroup);

    int64_t n_examples() const { return static_cast<int64_t>(sizes_.size()); }
    int64_t micro_batches_per_epoch() const;
    int64_t steps_per_epoch(int64_t accumulation) const;

    // Indices into the span of examples. 0 <= index < micro_batches_per_epoch().
    std::vector<int64_t> micro_batch(int64_t epoch, int64_t index) const;

    // The window of a step, counted from 0 over the whole run, which repeats the data as often as it takes.
    Window window(int64_t step, int64_t accumulation) const;

    // Tokens and labelled tokens of all micro-batches of the window.
    Totals totals(const Window& window) const;

    // The micro-batches of the window that `rank` of `ranks` takes, in order. The i-th micro-batches of all ranks have
    // about the same number of tokens, because they run at the same time: micro-batches are dealt out by size, the
    // largest first, back and forth. In the last round some ranks may get none.
    std::vector<int64_t> share(const Window& window, int64_t rank, int64_t ranks) const;

    // At least the sizes of the micro-batches of steps first_step .. end_step - 1. Exact if these take up to kExact
    // sequences or four epochs; else those of the worst micro-batch there could be, so that no run is too long to plan.
    BatchLimits limits(int64_t first_step, int64_t end_step, int64_t accumulation) const;
    static constexpr int64_t kExact = int64_t{1} << 22;

  private:
    Totals size_of(int64_t epoch, int64_t index) const;
    BatchLimits worst_micro_batch() const;

    // The examples of an epoch, micro-batch after micro-batch.
    const std::vector<int64_t>& order(int64_t epoch) const;

    std::vector<Totals> sizes_;
    int64_t batch_size_;
    uint64_t seed_;
    int64_t group_;
    mutable int64_t ordered_epoch_ = -1;
    mutable std::vector<int64_t> order_;
};

// All examples once, in order, for evaluation and calibration: up to batch_size per batch and, if max_tokens is given,
// no more tokens than that, unless a single example has more.
std::vector<std::vector<int64_t>> sequential_batches(std::span<const Example> examples, int64_t batch_size,
                                                     int64_t max_tokens = 0);
BatchLimits batch_limits(std::span<const Example> examples, std::span<const std::vector<int64_t>> batches);

}  // namespace llmc
