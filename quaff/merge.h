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
};

// Takes the memory of about one tensor. `out` must not exist, or be an empty directory.
MergeReport merge_adapter(const std::filesystem::path& model, const std::filesystem::path& adapter,
                          const std::filesystem::path& out);

}  // namespace quaff
