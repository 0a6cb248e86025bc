// Text generation with a key/value cache, one sequence at a time.
#pragma once

#include <span>
#include <vector>

#include "quaff/model/model.h"

namespace quaff {

template <class Device>
class Generator {
  public:
    // `max_length`: prompt and answer together; at most model.max_sequence_length(). The prompt must fit max_tokens.
    Generator(Model<Device>& model, int64_t max_length)
        : model_(model), arena_(model.device(), kMemoryKinds), max_length_(max_length) {
        model.require_room(1, max_length);
        caches_.resize(static_cast<size_t>(model.config().num_hidden_layers));
        arena_.build([&](Arena<Device>& arena) {
            for (size_t layer = 0; layer < caches_.size(); layer++) {
                KeyValueCache<Device>& cache = caches_[layer];
                const int64_t width = model.config().kv_size();
                arena.place(cache.keys, MemoryKind::activations, concat("keys ", layer), max_length, width);
                arena.place(cache.values, MemoryKind::activations, concat("values ", layer), max_length, width);
            }
        });
    }

    // Both return the logits of the last position [V], valid until the next call.
    std::span<const float> prefill(std::span<const int32_t> ids) {
        for (KeyValueCache<Device>& cache : caches_) cache.length = 0;
        ids_.clear();
        return run(ids);
    }
    std::span<const float> decode(int32_t id) {
        if (model_.rope().is_long(length() + 1) != model_.rope().is_long(length())) {
            // longrope: the sequence has just become a long one, so all of its keys turn by other angles.
            std::vector<int32_t> ids = ids_;
            ids.push_back(id);
            return prefill(ids);
        }
        return run({&id, 1});
    }

    int64_t length() const { return static_cast<int64_t>(ids_.size()); }

  private:
    std::span<const float> run(std::span<const int32_t> ids) {
        const int64_t before = length(), n = static_cast<int64_t>(ids.size());
        require(before + n <= max_length_, "the text has reached the ", max_length_,
                " tokens that memory was planned for");
        Batch batch;
        batch.input_ids.assign(ids.begin(), ids.end());
        for (int64_t i = 0; i < n; i++) batch.positions.push_back(static_cast<int32_t>(before + i));
        batch.cu_seqlens = {0, static_cast<int32_t>(n)};
        batch.examples = {0};
        batch.label_rows = {static_cast<int32_t>(n - 1)};
        batch.label_ids = {0};  // only the logits are wanted
        ids_.insert(ids_.end(), ids.begin(), ids.end());
        return model_.next_logits(batch, length(), caches_);
    }

    Model<Device>& model_;
    Arena<Device> arena_;
    std::vector<KeyValueCache<Device>> caches_;
    std::vector<int32_t> ids_;
    int64_t max_length_;
};

}  // namespace quaff
