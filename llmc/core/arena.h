// Memory is planned, then allocated once.
//
// Whoever owns tensors has one function that asks an Arena for each of them by kind, name and shape. The function runs
// twice: the first pass only adds up (the plan), commit() allocates one block per kind, and the second pass, which must
// ask for the same tensors in the same order, hands out the addresses (null for a tensor of no
// elements). `--plan` prints the table of the first pass.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "llmc/core/bytes.h"
#include "llmc/core/error.h"
#include "llmc/core/tensor.h"

namespace llmc {

enum class MemoryKind {
    int8_weights,  // the frozen linears, quantised
    weights,       // the frozen linears of --method fp; norms, biases, scales
    outlier_rows,  // the outlier columns of the frozen linears in the compute type
    embeddings,    // embedding table and head
    adapters,      // LoRA parameters and their gradients
    optimizer,     // AdamW's two moments
    activations,   // what the forward pass keeps for the backward pass
    workspace,     // shared by all layers, holds nothing between two of them
    count
};
const char* name_of(MemoryKind kind);

struct PlannedTensor {
    MemoryKind kind;
    std::string name;
    std::string type;
    int64_t rows, cols;
    int64_t bytes;  // rounded up to the arena's alignment
};

struct MemoryPlan {
    std::vector<PlannedTensor> tensors;

    int64_t total() const;
    int64_t total(MemoryKind kind) const;
    // One line per kind with its largest tensors, and the total: what the terminal shows.
    std::string table() const;
    // A kind with its largest tensor and what a user can lower: "3.00 MiB of ... (largest: ...): use ...".
    std::string describe(MemoryKind kind) const;
    // The same for the kind that is best lowered when `missing` bytes cannot be had.
    std::string blame(int64_t missing) const;
};

// Untyped part of Arena<Device>: the bookkeeping of both passes.
class ArenaBase {
  public:
    static constexpr int64_t kAlignment = 256;

    const MemoryPlan& plan() const { return plan_; }

  protected:
    // Returns the offset of the tensor in its kind's block. First pass: records; second pass: checks against the
    // record.
    int64_t place(MemoryKind kind, const std::string& name, const char* type, int64_t rows, int64_t cols, int64_t size);
    // What to tell the user when the block of `kind` cannot be had.
    std::string out_of_memory(MemoryKind kind) const;

    MemoryPlan plan_;
    size_t next_ = 0;  // second pass: index of the tensor to be asked for next
    bool committed_ = false;
    std::array<int64_t, static_cast<size_t>(MemoryKind::count)> used_{};
};

template <class T>
constexpr const char* type_name() {
    if constexpr (std::is_same_v<T, float>) return "fp32";
    if constexpr (std::is_same_v<T, double>) return "fp64";
    if constexpr (std::is_same_v<T, int8_t>) return "int8";
    if constexpr (std::is_same_v<T, int32_t>) return "int32";
    if constexpr (std::is_same_v<T, uint8_t>) return "uint8";
    if constexpr (std::is_same_v<T, uint16_t>) return "16 bits";
    return "other";
}

// Device must offer: void* allocate(int64_t bytes), null when there is no more (the memory reads as zero until it is
// written), and void release(void* block, int64_t bytes).
template <class Device>
class Arena : public ArenaBase {
  public:
    explicit Arena(const Device& device) : device_(device) {}
    Arena(const Arena&) = delete;
    Arena& operator=(const Arena&) = delete;
    ~Arena() {
        for (size_t kind = 0; kind < blocks_.size(); kind++)
            if (blocks_[kind]) device_.release(blocks_[kind], sizes_[kind]);
    }

    template <class T>
    Matrix<T> matrix(MemoryKind kind, const std::string& name, int64_t rows, int64_t cols) {
        const int64_t offset = place(kind, name, type_name<T>(), rows, cols, sizeof(T));
        char* block = blocks_[static_cast<size_t>(kind)];
        const bool exists = block && rows * cols > 0;
        return {exists ? reinterpret_cast<T*>(block + offset) : nullptr, rows, cols};
    }
    template <class T>
    std::span<T> vector(MemoryKind kind, const std::string& name, int64_t size) {
        Matrix<T> row = matrix<T>(kind, name, 1, size);
        return {row.data, row.data ? static_cast<size_t>(size) : 0};
    }

    // Ends the first pass. Throws Error naming the largest tensor of the kind that did not fit.
    void commit() {
        committed_ = true;
        sizes_ = used_;
        used_ = {};
        for (size_t kind = 0; kind < blocks_.size(); kind++) {
            if (sizes_[kind] == 0) continue;
            blocks_[kind] = static_cast<char*>(device_.allocate(sizes_[kind]));
            if (!blocks_[kind]) fail(out_of_memory(static_cast<MemoryKind>(kind)));
        }
    }

  private:
    Device device_;
    std::array<char*, static_cast<size_t>(MemoryKind::count)> blocks_{};
    std::array<int64_t, static_cast<size_t>(MemoryKind::count)> sizes_{};
};

}  // namespace llmc
