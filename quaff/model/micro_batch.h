// The current micro-batch on the device: its integers, and where its tokens stand.
//
//   ids [N], cu_seqlens [S+1], label_rows [L], label_ids [L]   as in Batch
//   rope_rows [N]                                              each token's row of cos and sin (rope_table.h)
//
// They are written one after the other into a staging buffer, and lie in the same order in one buffer of the device. So
// a single copy sends them, and the host does not wait for it.
#pragma once

#include <algorithm>
#include <optional>
#include <span>

#include "llmc/core/arena.h"
#include "llmc/cpu/transfer.h"
#include "llmc/data/batch.h"
#include "quaff/model/memory_kinds.h"
#include "quaff/model/rope_table.h"

namespace quaff {

// The largest micro-batch there will be. Memory is planned for it; a larger one is refused. Sequences longer than
// max_tokens are for generation, token by token.
struct MicroBatchLimits {
    int64_t max_tokens = 0;
    int64_t max_sequence_length = 0;
    int64_t max_labelled = 0;
};

// A table of rotations on the device [rows, rotary_dim / 2].
template <class Device>
struct Rotation {
    Matrix<float> cos, sin;

    void layout(Arena<Device>& arena, const std::string& name, const RopeTable& table) {
        const ArenaScope scope(arena, name);
        arena.place(cos, MemoryKind::weights, "cos", table.rows(), table.columns());
        arena.place(sin, MemoryKind::weights, "sin", table.rows(), table.columns());
    }
    void load(const Device& device, const RopeTable& table) {
        fill_from_host(device, cos, [&](Matrix<float> host_cos) {
            fill_from_host(device, sin, [&](Matrix<float> host_sin) { table.fill(host_cos, host_sin); });
        });
    }
};

// Where the tokens of a micro-batch stand: what attention and its rotations need to know.
template <class Device>
struct SequenceInfo {
    std::span<const int32_t> cu_seqlens;  // [S+1], on the device
    int64_t max_sequence_length;
    std::span<const int32_t> rope_rows;  // [N], on the device
    Rotation<Device> full, local;

    const Rotation<Device>& rotation(bool is_local) const { return is_local ? local : full; }
};

template <class Device>
class MicroBatch {
  public:
    MicroBatch(const ModelConfig& config, const MicroBatchLimits& limits)
        : limits_(limits), vocab_size_(config.vocab_size), rope_(config, limits.max_sequence_length) {
        const auto is_local = [](const LayerConfig& layer) { return layer.local_rope; };
        if (std::ranges::none_of(config.layers, is_local)) return;
        ModelConfig local = config;
        local.rope = config.local_rope;
        local_rope_.emplace(local, limits.max_sequence_length);
    }

    void layout(Arena<Device>& arena) {
        arena.place(integers_, MemoryKind::activations, "ids, positions, labels", most_integers());
        full_.layout(arena, "rope", rope_);
        if (local_rope_) local_.layout(arena, "local rope", *local_rope_);
    }
    void load(const Device& device) {
        full_.load(device, rope_);
        if (local_rope_) local_.load(device, *local_rope_);
        staging_.emplace(most_integers());
    }

    // Throws Error unless the planned buffers hold `n_tokens` in sequences of up to `longest`.
    void require_room(int64_t n_tokens, int64_t longest) const {
        require(n_tokens > 0, "a micro-batch holds no token");
        require(n_tokens <= limits_.max_tokens && longest <= limits_.max_sequence_length, "a micro-batch of ", n_tokens,
                " tokens with a sequence of ", longest, " does not fit the memory planned for ", limits_.max_tokens,
                " tokens and sequences of ", limits_.max_sequence_length);
    }

    // Sends the batch to the device. total_length: of the text that a single sequence continues, 0 where the sequences
    // are whole. Throws Error for a batch that has no room, or an id outside the vocabulary.
    void send(const Device& device, const Batch& batch, int64_t total_length = 0);

    int64_t n_tokens() const { return static_cast<int64_t>(ids_.size()); }
    int64_t n_labelled() const { return static_cast<int64_t>(label_rows_.size()); }
    std::span<const int32_t> ids() const { return ids_; }
    std::span<const int32_t> label_rows() const { return label_rows_; }
    std::span<const int32_t> label_ids() const { return label_ids_; }
    SequenceInfo<Device> sequences() const {
        return {.cu_seqlens = cu_seqlens_,
                .max_sequence_length = max_length_,
                .rope_rows = rope_rows_,
                .full = full_,
                .local = local_};
    }
    const RopeTable& rope() const { return rope_; }

  private:
    int64_t most_integers() const { return 3 * limits_.max_tokens + 1 + 2 * limits_.max_labelled; }

    MicroBatchLimits limits_;
    int64_t vocab_size_;
    RopeTable rope_;
    std::optional<RopeTable> local_rope_;  // where some layers turn by another; its rows are the positions, too
    Rotation<Device> full_, local_;
    std::optional<typename Device::InputStaging> staging_;
    std::span<int32_t> integers_;  // all of the micro-batch's; their parts:
    std::span<int32_t> ids_, cu_seqlens_, label_rows_, label_ids_, rope_rows_;
    int64_t max_length_ = 0;
};

template <class Device>
void MicroBatch<Device>::send(const Device& device, const Batch& batch, int64_t total_length) {
    require_room(batch.n_tokens(), batch.max_sequence_length());
    require(batch.n_labelled() <= limits_.max_labelled, "a micro-batch with ", batch.n_labelled(),
            " labelled tokens does not fit the memory planned for ", limits_.max_labelled);
    for (const auto* ids : {&batch.input_ids, &batch.label_ids})
        for (int32_t id : *ids)
            require(id >= 0 && id < vocab_size_, "token id ", id, " is outside the vocabulary of ", vocab_size_,
                    "; do the tokenizer and the model belong together?");
    const size_t integers = 2 * batch.input_ids.size() + batch.cu_seqlens.size() + 2 * batch.label_rows.size();
    require(integers <= integers_.size(), "a micro-batch of ", batch.cu_seqlens.size(),
            " sequences does not fit the memory planned for ", limits_.max_tokens, " tokens");

    const std::span<int32_t> staging = staging_->next();
    size_t used = 0;
    // Room for the next `count` integers: `part` on the device, and the returned one in the staging buffer.
    const auto take = [&](size_t count, std::span<int32_t>& part) {
        part = integers_.subspan(used, count);
        used += count;
        return staging.subspan(used - count, count);
    };
    std::ranges::copy(batch.input_ids, take(batch.input_ids.size(), ids_).begin());
    std::ranges::copy(batch.cu_seqlens, take(batch.cu_seqlens.size(), cu_seqlens_).begin());
    std::ranges::copy(batch.label_rows, take(batch.label_rows.size(), label_rows_).begin());
    std::ranges::copy(batch.label_ids, take(batch.label_ids.size(), label_ids_).begin());
    const std::span<int32_t> rope_rows = take(batch.input_ids.size(), rope_rows_);
    for (size_t s = 0; s + 1 < batch.cu_seqlens.size(); s++) {
        const int32_t begin = batch.cu_seqlens[s], end = batch.cu_seqlens[s + 1];
        for (int32_t n = begin; n < end; n++)
            rope_rows[n] = rope_.row(batch.positions[n], total_length > 0 ? total_length : end - begin);
    }
    staging_->send(device, integers_.first(used));
    max_length_ = batch.max_sequence_length();
}

}  // namespace quaff
