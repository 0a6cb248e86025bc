// All that is trained, in flat buffers: the adapters' matrices, block by block, linear by linear, the stacked A before
// each adapter's B. Gradients and AdamW's moments lie in the same order, so that the optimiser is one pass over four
// arrays.
//
//   gradients, m, v [P]        like parameters [P], fp32
//   rounded [P]                the parameters in the compute type, which the products read; the same memory in fp32
//   pieces                     the stacked A of a linear, then its adapters' B, and so on in turn
//   buckets                    runs of gradients that the ranks sum together, those of the top blocks first
#pragma once

#include <cmath>
#include <numbers>
#include <span>
#include <vector>

#include "llmc/core/integers.h"
#include "llmc/core/philox.h"
#include "quaff/model/block.h"
#include "quaff/model/linears_of.h"

namespace quaff {

// How A begins; B is zero, so that the model starts as it was. Both as in PEFT.
//
//   kaiming    uniform in +-1/sqrt(I), Kaiming's with a = sqrt(5)
//   gaussian   normal with standard deviation 1/r, r the rank of the adapter
enum class InitialLora { kaiming, gaussian };

template <class Device>
class Parameters {
  public:
    using T = typename Device::compute_t;

    // Gives every linear of `blocks` its views. Its adapters are configured, each with the shape of its B.
    // bucket_size: the fewest gradients that the ranks sum at a time.
    void layout(Arena<Device>& arena, const Device& device, std::vector<Block<Device>>& blocks, bool training,
                int64_t bucket_size);
    void initialise(const Device& device, std::vector<Block<Device>>& blocks, InitialLora how, uint64_t seed);

    std::span<float> values() { return values_; }
    std::span<const float> values() const { return values_; }
    std::span<float> gradients() { return gradients_; }
    std::span<float> adam_m() { return adam_m_; }
    std::span<float> adam_v() { return adam_v_; }

    void zero_gradients(const Device& device) {
        set_zero<float>(device, {gradients_.data(), 1, static_cast<int64_t>(gradients_.size())});
    }
    double gradient_norm(const Device& device) const { return global_norm<float>(device, gradients_, norm_sums_); }
    // AdamW with gradients * grad_scale; `step` counts from 1. B's learning rate is b_ratio times A's: LoRA+, Hayou et
    // al. 2024, arXiv 2402.12354.
    void step(const Device& device, const AdamWOptions& adamw, double b_ratio, int64_t step, float grad_scale);
    // After every change of values().
    void round(const Device& device) {
        if constexpr (!std::is_same_v<T, float>) {
            const auto size = static_cast<int64_t>(values_.size());
            copy<T>(device, Matrix<T>(rounded_.data(), 1, size), Matrix<const float>(values_.data(), 1, size));
        }
    }

    // Begins to sum over the ranks the gradients that are complete once the backward pass has left block `block`.
    void start_sums(Comm& comm, size_t block) {
        for (; sums_started_ < buckets_.size() && buckets_[sums_started_].first_block >= block; ++sums_started_) {
            const Bucket& bucket = buckets_[sums_started_];
            comm.start_sum(gradients_.subspan(static_cast<size_t>(bucket.begin), static_cast<size_t>(bucket.size)));
        }
    }
    // gradients() = their sum over all ranks.
    void finish_sums(Comm& comm) {
        start_sums(comm, 0);
        comm.finish_sums();
        sums_started_ = 0;
    }

  private:
    // Parameters that begin there: matrices A, or matrices B.
    struct Piece {
        size_t begin;
        bool is_b;
    };
    // Gradients of one block, or of several that follow each other.
    struct Bucket {
        size_t first_block;  // all of it is complete when the backward pass has left this block
        int64_t begin, size;
    };

    // Elements that a matrix takes. Rounded copies begin at multiples of 16 bytes, as fast products of 16-bit matrices
    // require.
    static int64_t room(int64_t rows, int64_t cols) {
        constexpr int64_t kMultiple = std::is_same_v<T, float> ? 1 : 8;
        return round_up(rows * cols, kMultiple);
    }
    static int64_t stacked_rank(const QuantizedLinear<Device>& linear) {
        int64_t rank = 0;
        for (const LoraAdapter& adapter : linear.adapters) rank += adapter.b.cols;
        return rank;
    }
    // Nothing while memory is only planned.
    template <class V>
    static Matrix<V> view(std::span<V> buffer, int64_t begin, int64_t rows, int64_t cols) {
        return {buffer.empty() ? nullptr : buffer.data() + begin, rows, cols};
    }

    void make_buckets(const std::vector<int64_t>& begins, int64_t size, int64_t bucket_size);

    std::span<float> values_, gradients_, adam_m_, adam_v_;
    std::span<T> rounded_;
    std::span<double> norm_sums_;  // scratch of the gradient norm
    std::vector<Piece> pieces_;
    std::vector<Bucket> buckets_;
    size_t sums_started_ = 0;  // buckets that are being summed
};

template <class Device>
void Parameters<Device>::layout(Arena<Device>& arena, const Device& device, std::vector<Block<Device>>& blocks,
                                bool training, int64_t bucket_size) {
    int64_t size = 0;
    for (const QuantizedLinear<Device>& linear : linears_of(blocks)) {
        size += room(stacked_rank(linear), linear.shape.in_features);
        for (const LoraAdapter& adapter : linear.adapters) size += room(adapter.b.rows, adapter.b.cols);
    }
    const int64_t trained = training ? size : 0;
    arena.place(values_, MemoryKind::adapters, "parameters", size);
    arena.place(gradients_, MemoryKind::adapters, "gradients", trained);
    if constexpr (std::is_same_v<T, float>)
        rounded_ = values_;
    else
        arena.place(rounded_, MemoryKind::adapters, "rounded parameters", size);
    arena.place(adam_m_, MemoryKind::optimizer, "adam m", trained);
    arena.place(adam_v_, MemoryKind::optimizer, "adam v", trained);
    arena.place(norm_sums_, MemoryKind::workspace, "norm sums", training ? global_norm_workspace(device) : 0);

    int64_t next = 0;
    pieces_.clear();
    std::vector<int64_t> begins;  // of the blocks
    for (Block<Device>& block : blocks) {
        begins.push_back(next);
        for (QuantizedLinear<Device>& linear : block.linears) {
            const int64_t rank = stacked_rank(linear), first_a = next;
            if (rank > 0) pieces_.push_back({static_cast<size_t>(next), false});
            linear.lora_a = view(values_, next, rank, linear.shape.in_features);
            linear.lora_da = view(gradients_, next, rank, linear.shape.in_features);
            linear.compute_a = view(rounded_, next, rank, linear.shape.in_features);
            next += room(rank, linear.shape.in_features);
            if (rank > 0) pieces_.push_back({static_cast<size_t>(next), true});
            linear.compute_b.resize(linear.adapters.size());
            int64_t of_a = first_a;
            for (size_t p = 0; p < linear.adapters.size(); p++) {
                LoraAdapter& adapter = linear.adapters[p];
                const int64_t r = adapter.b.cols, out_features = adapter.b.rows;
                adapter.a = view(values_, of_a, r, linear.shape.in_features);
                adapter.da = view(gradients_, of_a, r, linear.shape.in_features);
                adapter.b = view(values_, next, out_features, r);
                adapter.db = view(gradients_, next, out_features, r);
                linear.compute_b[p] = view(rounded_, next, out_features, r);
                next += room(out_features, r);
                of_a += r * linear.shape.in_features;
            }
        }
    }
    make_buckets(begins, size, bucket_size);
}

// From the top block down; each bucket takes as many blocks as make bucket_size gradients.
template <class Device>
void Parameters<Device>::make_buckets(const std::vector<int64_t>& begins, int64_t size, int64_t bucket_size) {
    buckets_.clear();
    int64_t end = size;
    for (size_t block = begins.size(); block-- > 0;) {
        if (end - begins[block] < bucket_size && block > 0) continue;
        if (end > begins[block]) buckets_.push_back({block, begins[block], end - begins[block]});
        end = begins[block];
    }
}

template <class Device>
void Parameters<Device>::step(const Device& device, const AdamWOptions& adamw, double b_ratio, int64_t step,
                              float grad_scale) {
    const auto update = [&](size_t begin, size_t end, const AdamWOptions& options) {
        const size_t size = end - begin;
        adamw_step<float>(device, values_.subspan(begin, size), gradients_.subspan(begin, size),
                          adam_m_.subspan(begin, size), adam_v_.subspan(begin, size), options, step, grad_scale);
    };
    if (b_ratio == 1) {
        update(0, values_.size(), adamw);
    } else {
        AdamWOptions of_b = adamw;
        of_b.learning_rate *= b_ratio;
        for (size_t i = 0; i < pieces_.size(); i++)
            update(pieces_[i].begin, i + 1 < pieces_.size() ? pieces_[i + 1].begin : values_.size(),
                   pieces_[i].is_b ? of_b : adamw);
    }
    round(device);
}

template <class Device>
void Parameters<Device>::initialise(const Device& device, std::vector<Block<Device>>& blocks, InitialLora how,
                                    uint64_t seed) {
    constexpr uint32_t kStream = 0x61646170;  // "adap": apart from the counters of dropout
    const PhiloxKey key{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)};
    const auto uniform = [](uint32_t word) { return static_cast<float>(word >> 8) * 0x1p-24f; };  // [0, 1)
    for (QuantizedLinear<Device>& linear : linears_of(blocks)) {
        const float bound = 1.0f / std::sqrt(static_cast<float>(linear.shape.in_features));
        fill_from_host(device, linear.lora_a, [&](Matrix<float> a) {
            int64_t i = 0;
            for (const LoraAdapter& adapter : linear.adapters) {
                const float deviation = 1.0f / static_cast<float>(adapter.b.cols);
                for (const int64_t end = i + adapter.b.cols * a.cols; i < end; i++) {
                    const PhiloxWords words = philox4x32_10(
                        {static_cast<uint32_t>(i), static_cast<uint32_t>(i >> 32), linear.id, kStream}, key);
                    if (how == InitialLora::kaiming) {
                        a.data[i] = bound * (2 * uniform(words.x0) - 1);
                    } else {  // Box and Muller 1958; 1 - [0, 1) is never 0
                        const float radius = std::sqrt(-2 * std::log(1 - uniform(words.x0)));
                        a.data[i] = deviation * radius * std::cos(2 * std::numbers::pi_v<float> * uniform(words.x1));
                    }
                }
            }
        });
    }
    round(device);
}

}  // namespace quaff
