// Memory is planned, then allocated once.
//
// Whoever owns tensors has one layout function, which asks an Arena for each of them by kind, name and shape. It runs
// twice. The dry run only adds up, which gives the plan. Then one block per kind is allocated, and the second run,
// which must ask for the same tensors in the same order, hands out the addresses.
//
//   Arena<Device> arena(device, kMemoryKinds);
//   arena.build([&](Arena<Device>& arena) {
//       const ArenaScope scope(arena, "head");
//       arena.place(normed, MemoryKind::activations, "normed", n_tokens, hidden_size);   // "head.normed"
//   });
//
// A tensor of no elements has a null address, and so has every tensor after the dry run. The program says which kinds
// there are: an enum that counts from 0, and a table of as many MemoryKindInfo.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "llmc/core/bytes.h"
#include "llmc/core/error.h"
#include "llmc/core/tensor.h"

namespace llmc {

struct MemoryKindInfo {
    const char* name;
    const char* remedy;  // what a user can do about it: "lower ..."
    bool of_batch;       // smaller batches need less
};
using MemoryKinds = std::span<const MemoryKindInfo>;

template <class Kind>
concept MemoryKindEnum = std::is_enum_v<Kind>;

struct PlannedTensor {
    size_t kind;
    std::string name;
    std::string type;
    int64_t rows, cols;
    int64_t bytes;  // rounded up to the arena's alignment
};

struct MemoryPlan {
    MemoryKinds kinds;
    std::vector<PlannedTensor> tensors;

    // Takes over the tensors of another plan of the same kinds, as those of `owner`.
    void add(const MemoryPlan& other, const std::string& owner);
    int64_t total() const;
    int64_t total(size_t kind) const;
    int64_t total(MemoryKindEnum auto kind) const { return total(static_cast<size_t>(kind)); }
    // One line per kind with its largest tensor, and the total: what the terminal shows.
    std::string table() const;
    // A kind with its largest tensor and what a user can lower: "3.00 MiB of ... (largest: ...): use ...".
    std::string describe(size_t kind) const;
    // The same for the kind to lower first when `missing` bytes cannot be had.
    std::string blame(int64_t missing) const;
};

// Untyped part of Arena<Device>: the bookkeeping of both runs.
class ArenaBase {
  public:
    static constexpr int64_t kAlignment = 256;

    const MemoryPlan& plan() const { return plan_; }

  protected:
    explicit ArenaBase(MemoryKinds kinds) : plan_{kinds, {}}, used_(kinds.size()) {}

    // Returns the offset of the tensor in its kind's block. The dry run records it, the second run checks it against
    // the record.
    int64_t place_bytes(size_t kind, const std::string& name, const char* type, int64_t rows, int64_t cols,
                        int64_t size);
    // What to tell the user when the block of `kind` cannot be had.
    std::string out_of_memory(size_t kind) const;

    MemoryPlan plan_;
    size_t next_ = 0;  // second run: index of the tensor to be asked for next
    bool committed_ = false;
    std::vector<int64_t> used_;  // by kind

  private:
    friend class ArenaScope;
    std::string owner_;  // of the tensors that are asked for now: "model.layers.0.mlp.down_proj."
};

// While it lives, every tensor that the arena is asked for belongs to `owner`: its name begins "owner.". Scopes nest.
class ArenaScope {
  public:
    ArenaScope(ArenaBase& arena, const std::string& owner) : arena_(arena), outer_(arena.owner_.size()) {
        arena_.owner_ += owner + ".";
    }
    ~ArenaScope() { arena_.owner_.resize(outer_); }
    ArenaScope(const ArenaScope&) = delete;
    ArenaScope& operator=(const ArenaScope&) = delete;

  private:
    ArenaBase& arena_;
    size_t outer_;  // length of the owner's name around it
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
    Arena(const Device& device, MemoryKinds kinds)
        : ArenaBase(kinds), device_(device), blocks_(kinds.size()), sizes_(kinds.size()) {}
    Arena(const Arena&) = delete;
    Arena& operator=(const Arena&) = delete;
    ~Arena() {
        for (size_t kind = 0; kind < blocks_.size(); kind++)
            if (blocks_[kind]) device_.release(blocks_[kind], sizes_[kind]);
    }

    // view = a tensor of this kind, name and shape; its type is the view's.
    template <class T>
    void place(Matrix<T>& view, MemoryKindEnum auto kind, const std::string& name, int64_t rows, int64_t cols) {
        view = {place_values<T>(static_cast<size_t>(kind), name, rows, cols), rows, cols};
    }
    template <class T>
    void place(std::span<T>& view, MemoryKindEnum auto kind, const std::string& name, int64_t size) {
        T* data = place_values<T>(static_cast<size_t>(kind), name, 1, size);
        view = {data, data ? static_cast<size_t>(size) : 0};
    }

    // The plan of what build() would take. layout: void(Arena<Device>&).
    template <class Layout>
    const MemoryPlan& dry_run(const Layout& layout) {
        plan_.tensors.clear();
        used_.assign(used_.size(), 0);
        layout(*this);
        return plan_;
    }
    // Allocates what `layout` asks for and hands it out. Once. Throws Error naming the largest tensor of the kind that
    // did not fit, or when the second run asks for something else.
    template <class Layout>
    void build(const Layout& layout) {
        dry_run(layout);
        commit();
        layout(*this);
    }

  private:
    template <class T>
    T* place_values(size_t kind, const std::string& name, int64_t rows, int64_t cols) {
        const int64_t offset = place_bytes(kind, name, type_name<T>(), rows, cols, sizeof(T));
        return blocks_[kind] && rows * cols > 0 ? reinterpret_cast<T*>(blocks_[kind] + offset) : nullptr;
    }

    void commit() {
        committed_ = true;
        sizes_ = used_;
        used_.assign(used_.size(), 0);
        for (size_t kind = 0; kind < blocks_.size(); kind++) {
            if (sizes_[kind] == 0) continue;
            blocks_[kind] = static_cast<char*>(device_.allocate(sizes_[kind]));
            if (!blocks_[kind]) fail(out_of_memory(kind));
        }
    }

    Device device_;
    std::vector<char*> blocks_;   // by kind
    std::vector<int64_t> sizes_;  // of them
};

}  // namespace llmc
