// Folds an adapter into the weights it was trained on: W + scaling B A in place of W, in fp32 and rounded once to the
// type W is stored in. The result is a Hugging Face model directory like the original one: the same files, shards,
// types and tokenizer. It appears complete or not at all.
#pragma once

#include <cstdint>
#include <filesystem>

namespace quaff {

struct MergeReport {
    int64_t merged_layers = 0;  // linear layers that the adapter changed
    int64_t files = 0;          // of weights
    int64_t bytes = 0;          // of weights
    // |rounding| / |change|, over all changed weights: how far rounding to the model's own dtype took the merged
    // weights from what the adapter makes of them. A short training in BF16 can lose a good part this way.
    double rounding = 0;
};

// Takes the memory of a few tensors. `out` must not exist, or be an empty directory.
MergeReport merge_adapter(const std::filesystem::path& model, const std::filesystem::path& adapter,
                          const std::filesystem::path& out);

}  // namespace quaff
