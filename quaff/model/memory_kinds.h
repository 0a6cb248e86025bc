// What a model's memory is for. `--plan` prints a line for each kind. When memory is short, the error names the kind to
// lower and how.
#pragma once

#include "llmc/core/arena.h"

namespace quaff {

using namespace llmc;

enum class MemoryKind {
    int8_weights,  // the frozen linears, quantised
    weights,       // frozen linears in full precision; norms, biases, scales
    outlier_rows,  // the outlier columns of the frozen linears in the compute type
    embeddings,    // embedding table and head
    adapters,      // LoRA parameters and their gradients
    optimizer,     // AdamW's two moments
    activations,   // what the forward pass keeps for the backward pass
    workspace,     // shared by all layers, holds nothing between two of them
    count
};

inline constexpr MemoryKindInfo kMemoryKinds[] = {
    {"int8 weights", "use a smaller --model", false},
    {"weights", "use --method quaff, which keeps the linears in int8, or a smaller --model", false},
    {"outlier rows", "lower --outlier-max-ratio", false},
    {"embeddings, head", "use a smaller --model", false},
    {"adapters", "lower --lora-r or name fewer --target-modules", false},
    {"optimizer", "lower --lora-r or name fewer --target-modules", false},
    {"activations",
     "use --recompute block, or lower --batch-size (and raise --gradient-accumulation-steps), --source-max-len or "
     "--target-max-len",
     true},
    {"workspace",
     "lower --batch-size, --source-max-len or --target-max-len; with llm-int8, smooth-dynamic or qlora much of it is "
     "room for the largest layer, which --method quaff does without",
     true},
};
static_assert(std::size(kMemoryKinds) == static_cast<size_t>(MemoryKind::count));

constexpr const char* name_of(MemoryKind kind) {
    return kMemoryKinds[static_cast<size_t>(kind)].name;
}

}  // namespace quaff
