// Folds an adapter into the weights it was trained on: W + scaling B A in place of W, in fp32 and rounded once to the
// type W is stored in. The result is a Hugging Face model directory like the original one: the same files, shards,
// types and tokenizer, without adapters. It appears whole or not at all.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace quaff {

struct MergeReport {
    int64_t merged_layers = 0;  // linear layers that the adapter changed
    int64_t files = 0;          // of weights
    int64_t bytes = 0;          // of weights
    // |rounding| / |change| over all changed weights: how far rounding to the model's dtype took them from the exact
    // sums, relative to what the adapter added. Rounding to BF16 can undo much of a short training.
    double rounding = 0;
    std::vector<std::string> notes;  // sentences for the user about what of model and adapter was not followed
};

// Writes the merged model to `out`, in the memory of a few tensors. Throws Error when `out` exists and is not an empty
// directory, when model and adapter do not belong together, or when a merged value does not fit its type.
MergeReport merge_adapter(const std::filesystem::path& model, const std::filesystem::path& adapter,
                          const std::filesystem::path& out);

}  // namespace quaff
