#include "llmc/data/sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "llmc/core/error.h"
#include "llmc/core/integers.h"
#include "llmc/data/examples.h"
#include "llmc/data/shuffle.h"
#include "test/catch.h"

using namespace llmc;
using Indices = std::vector<int64_t>;

namespace {

// n examples with lengths between 2 and 101, half of each labelled.
std::vector<Example> make_examples(int64_t n) {
    std::vector<Example> examples(n);
    for (int64_t i = 0; i < n; ++i) {
        const int64_t length = 2 + (i * 7919) % 100;
        examples[i].input_ids.assign(length, 5);
        examples[i].labels.assign(length, kIgnoreLabel);
        std::fill(examples[i].labels.begin() + length / 2, examples[i].labels.end(), 5);
        examples[i].index = i;
    }
    return examples;
}

Indices epoch_order(const Sampler& sampler, int64_t epoch) {
    Indices order;
    for (int64_t m = 0; m < sampler.micro_batches_per_epoch(); ++m)
        for (int64_t i : sampler.micro_batch(epoch, m)) order.push_back(i);
    return order;
}

}  // namespace

TEST_CASE("an epoch is every example once, in full micro-batches but for the last", "[data][sampler]") {
    for (int64_t n : {1, 3, 4, 5, 64, 1000, 1003}) {
        const std::vector<Example> examples = make_examples(n);
        const Sampler sampler(examples, 4, 9);
        INFO(n);
        CHECK(sampler.micro_batches_per_epoch() == (n + 3) / 4);
        for (int64_t epoch : {0, 1, 5}) {
            for (int64_t m = 0; m < sampler.micro_batches_per_epoch(); ++m)
                CHECK(static_cast<int64_t>(sampler.micro_batch(epoch, m).size()) == std::min<int64_t>(4, n - 4 * m));
            Indices order = epoch_order(sampler, epoch);
            std::sort(order.begin(), order.end());
            Indices expected(n);
            std::iota(expected.begin(), expected.end(), int64_t{0});
            CHECK(order == expected);
        }
    }
}

TEST_CASE("epochs differ, seeds differ, the same seed and epoch do not", "[data][sampler]") {
    const std::vector<Example> examples = make_examples(500);
    const Sampler sampler(examples, 8, 1), again(examples, 8, 1), other(examples, 8, 2);
    CHECK(epoch_order(sampler, 0) != epoch_order(sampler, 1));
    CHECK(epoch_order(sampler, 0) != epoch_order(other, 0));
    CHECK(epoch_order(sampler, 3) == epoch_order(again, 3));
}

TEST_CASE("a micro-batch does not depend on what was asked for before", "[data][sampler]") {
    const std::vector<Example> examples = make_examples(300);
    const Sampler straight(examples, 8, 1);
    std::vector<Indices> expected;
    for (int64_t epoch = 0; epoch < 3; ++epoch)
        for (int64_t m = 0; m < straight.micro_batches_per_epoch(); ++m)
            expected.push_back(straight.micro_batch(epoch, m));
    const Sampler jumping(examples, 8, 1);
    const int64_t per_epoch = jumping.micro_batches_per_epoch();
    for (int64_t k : permutation(3 * per_epoch, 5, RandomStream::subset))
        CHECK(jumping.micro_batch(k / per_epoch, k % per_epoch) == expected[k]);
}

TEST_CASE("micro-batches hold sequences of similar length, in random order", "[data][sampler]") {
    const std::vector<Example> examples = make_examples(4096);
    const auto spread = [&](const Sampler& sampler) {
        double sum = 0;
        for (int64_t m = 0; m < sampler.micro_batches_per_epoch(); ++m) {
            size_t least = 1000, most = 0;
            for (int64_t i : sampler.micro_batch(0, m)) {
                least = std::min(least, examples[i].input_ids.size());
                most = std::max(most, examples[i].input_ids.size());
            }
            sum += most - least;
        }
        return sum / sampler.micro_batches_per_epoch();
    };
    const Sampler grouped(examples, 16, 0), plain(examples, 16, 0, 1);
    // Lengths are uniform over 100 values: 16 at random span 15/17 of them; 16 neighbours of 512 span about 16/512.
    CHECK(spread(plain) == Approx(100 * 15 / 17.0).margin(5));
    CHECK(spread(grouped) < 10);

    // The order of the micro-batches has no trend in length: neighbours are as different as any two. The mean length is
    // uniform over about 100, so two of them differ by 33 on average; sorted ones by less than 5.
    double difference = 0;
    for (int64_t m = 0; m + 1 < grouped.micro_batches_per_epoch(); ++m) {
        const auto length = [&](int64_t k) {
            return static_cast<double>(examples[grouped.micro_batch(0, k)[0]].input_ids.size());
        };
        difference += std::abs(length(m) - length(m + 1));
    }
    CHECK(difference / (grouped.micro_batches_per_epoch() - 1) == Approx(33).margin(7));
}

TEST_CASE("a small data set still gets other micro-batches in every epoch", "[data][sampler]") {
    const std::vector<Example> examples = make_examples(32);
    const Sampler sampler(examples, 8, 0);
    std::set<std::set<int64_t>> seen;
    for (int64_t epoch = 0; epoch < 10; ++epoch) {
        for (int64_t m = 0; m < 4; ++m) {
            const Indices batch = sampler.micro_batch(epoch, m);
            seen.insert(std::set<int64_t>(batch.begin(), batch.end()));
        }
    }
    CHECK(seen.size() == 40);
}

TEST_CASE("steps take windows of micro-batches and never two epochs", "[data][sampler]") {
    const std::vector<Example> examples = make_examples(39);
    const Sampler sampler(examples, 4, 0);  // 10 micro-batches
    CHECK(sampler.steps_per_epoch(1) == 10);
    CHECK(sampler.steps_per_epoch(4) == 3);
    CHECK(sampler.steps_per_epoch(5) == 2);
    CHECK(sampler.steps_per_epoch(100) == 1);
    CHECK(sampler.window(0, 4) == Window{0, 0, 4});
    CHECK(sampler.window(1, 4) == Window{0, 4, 4});
    CHECK(sampler.window(2, 4) == Window{0, 8, 2});
    CHECK(sampler.window(3, 4) == Window{1, 0, 4});
    CHECK(sampler.window(302, 4) == Window{100, 8, 2});
    CHECK(sampler.window(7, 100) == Window{7, 0, 10});
}

TEST_CASE("ranks share a window: each micro-batch once, those of the same turn alike in size", "[data][sampler]") {
    const std::vector<Example> examples = make_examples(203);
    const Sampler sampler(examples, 4, 3, /*group=*/8);
    for (const int64_t ranks : {1, 2, 3, 4, 7}) {
        for (int64_t step = 0; step < 2 * sampler.steps_per_epoch(2 * ranks); ++step) {
            const Window window = sampler.window(step, 2 * ranks);
            Indices all;
            std::vector<int64_t> tokens(static_cast<size_t>(ranks), 0);
            int64_t labelled = 0, most = 0;
            for (int64_t rank = 0; rank < ranks; ++rank) {
                const Indices share = sampler.share(window, rank, ranks);
                CHECK(static_cast<int64_t>(share.size()) <= ceil_div(window.count, ranks));
                CHECK(static_cast<int64_t>(share.size()) >= window.count / ranks);
                for (const int64_t m : share) {
                    all.push_back(m);
                    int64_t size = 0;
                    for (const int64_t i : sampler.micro_batch(window.epoch, m)) {
                        size += static_cast<int64_t>(examples[i].input_ids.size());
                        labelled += count_labelled(examples[i]);
                    }
                    tokens[rank] += size;
                    most = std::max(most, size);
                }
            }
            const Totals totals = sampler.totals(window);
            CHECK(totals.tokens == std::accumulate(tokens.begin(), tokens.end(), int64_t{0}));
            CHECK(totals.labelled == labelled);
            // Dealt out back and forth, two ranks differ by no more than the largest micro-batch.
            CHECK(*std::max_element(tokens.begin(), tokens.end()) - *std::min_element(tokens.begin(), tokens.end()) <=
                  most);
            if (ranks > 1) std::sort(all.begin(), all.end());  // a single rank takes them in order
            Indices expected(window.count);
            std::iota(expected.begin(), expected.end(), window.first);
            CHECK(all == expected);
        }
    }
}

TEST_CASE("limits are those of the micro-batches of these very steps", "[data][sampler]") {
    const std::vector<Example> examples = make_examples(203);
    const Sampler sampler(examples, 8, 4);
    const int64_t accumulation = 3;
    const auto walk = [&](int64_t first_step, int64_t end_step) {
        BatchLimits limits;
        for (int64_t step = first_step; step < end_step; ++step) {
            const Window window = sampler.window(step, accumulation);
            for (int64_t m = window.first; m < window.first + window.count; ++m) {
                const Batch batch = pack(examples, sampler.micro_batch(window.epoch, m));
                limits.include(
                    {batch.n_tokens(), batch.max_sequence_length(), batch.n_labelled(), batch.n_sequences()});
            }
        }
        return limits;
    };
    for (const auto& [first, end] :
         {std::pair(0, 1), std::pair(0, 9), std::pair(4, 5), std::pair(8, 9), std::pair(3, 40)}) {
        INFO(first << " " << end);
        CHECK(sampler.limits(first, end, accumulation) == walk(first, end));
    }
    CHECK(sampler.limits(5, 5, accumulation) == BatchLimits{});
    CHECK(sampler.limits(8, 9, accumulation).max_sequences == 8);
    CHECK(sampler.limits(0, 1, accumulation) != sampler.limits(0, 40, accumulation));
}

TEST_CASE("a run of any length is planned at once, for the worst that it could draw", "[data][sampler]") {
    const std::vector<Example> examples = make_examples(1003);
    const Sampler sampler(examples, 8, 5);
    const int64_t steps = sampler.steps_per_epoch(4);
    const BatchLimits worst = sampler.limits(0, 1000000000, 4);
    BatchLimits both = worst;
    both.include(sampler.limits(0, 200 * steps, 4));
    CHECK(both == worst);
    // The eight longest of all: 101 has eleven examples or ten, each with 51 labels.
    CHECK(worst == BatchLimits{8 * 101, 101, 8 * 51, 8});
    // Fewer examples than a micro-batch takes.
    CHECK(Sampler(std::span(examples).first(3), 8, 5).limits(0, 1000000000, 4).max_sequences == 3);
}

TEST_CASE("sequential batches hold every example once, in order, within their bounds", "[data][sampler]") {
    const std::vector<Example> examples = make_examples(57);
    for (int64_t max_tokens : {0, 50, 150, 100000}) {
        const auto batches = sequential_batches(examples, 5, max_tokens);
        INFO(max_tokens);
        int64_t next = 0;
        for (const Indices& batch : batches) {
            int64_t n_tokens = 0;
            for (int64_t i : batch) {
                CHECK(i == next++);
                n_tokens += static_cast<int64_t>(examples[i].input_ids.size());
            }
            CHECK((batch.size() >= 1 && batch.size() <= 5));
            CHECK((max_tokens == 0 || n_tokens <= max_tokens || batch.size() == 1));
        }
        CHECK(next == 57);
    }
    CHECK(sequential_batches(examples, 5).size() == 12);
    CHECK(sequential_batches(examples, 100, 1).size() == 57);
    CHECK(sequential_batches({}, 5).empty());

    const auto batches = sequential_batches(examples, 5, 200);
    BatchLimits expected;
    for (const Indices& indices : batches) {
        const Batch batch = pack(examples, indices);
        expected.include({batch.n_tokens(), batch.max_sequence_length(), batch.n_labelled(), batch.n_sequences()});
    }
    CHECK(batch_limits(examples, batches) == expected);
}

TEST_CASE("what cannot be sampled is refused", "[data][sampler]") {
    const std::vector<Example> examples = make_examples(5);
    CHECK_THROWS_AS(Sampler({}, 4, 0), Error);
    CHECK_THROWS_AS(Sampler(examples, 0, 0), Error);
    CHECK_THROWS_AS(Sampler(examples, 4, 0, 0), Error);
    CHECK_THROWS_AS(sequential_batches(examples, 0), Error);
    const Sampler sampler(examples, 4, 0);
    CHECK_THROWS_AS(sampler.micro_batch(0, 2), Error);
    CHECK_THROWS_AS(sampler.micro_batch(0, -1), Error);
    CHECK_THROWS_AS(sampler.micro_batch(-1, 0), Error);
}
