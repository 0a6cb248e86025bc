// Examples and packed micro-batches.
//
// An example is what Hugging Face calls input_ids and labels: aligned, -100 where a position carries no loss. Position
// n predicts token n+1, so row n of a packed batch is labelled when labels[n+1] of the same sequence is not -100.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace llmc {

constexpr int32_t kIgnoreLabel = -100;

struct Example {
    std::vector<int32_t> input_ids;
    std::vector<int32_t> labels;  // same length as input_ids
    int64_t index = 0;            // of its record in the file, from 0, counting the records left out
    int32_t file = 0;             // of those that the data come from
};

// Several sequences laid end to end. N tokens, S sequences, L labelled rows.
struct Batch {
    std::vector<int32_t> input_ids;   // [N]
    std::vector<int32_t> positions;   // [N], from 0 in every sequence
    std::vector<int32_t> cu_seqlens;  // [S+1], sequence s is rows cu_seqlens[s] .. cu_seqlens[s+1]-1
    std::vector<int32_t> label_rows;  // [L], ascending: the rows that predict a labelled token
    std::vector<int32_t> label_ids;   // [L], the token each of them is to predict
    std::vector<int64_t> examples;    // [S], Example::index of each sequence

    int64_t n_tokens() const { return static_cast<int64_t>(input_ids.size()); }
    int64_t n_sequences() const { return static_cast<int64_t>(examples.size()); }
    int64_t n_labelled() const { return static_cast<int64_t>(label_rows.size()); }
    int64_t max_sequence_length() const;
};

// Lays the examples end to end in the order given.
Batch pack(std::span<const Example* const> examples);
// The same for examples[indices[0]], examples[indices[1]], ...
Batch pack(std::span<const Example> examples, std::span<const int64_t> indices);

}  // namespace llmc
