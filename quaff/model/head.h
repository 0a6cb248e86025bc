// What turns the residual stream into logits and a loss.
//
//   h      = rmsnorm(x + delta) / s        of the labelled rows alone; s: the config's logits_scaling
//   logits = h W^T                         W [V,C]: the embeddings' own where they are tied
//   logits = c tanh(logits / c)            where the config has final_logit_softcapping c
//   loss   = sum over rows of cross-entropy(logits, label)
//
// backward, with g the factor of the loss:
//   dlogits = g (softmax(logits) - onehot(label)), times 1 - (logits / c)^2 with c
//   dh = dlogits W,  d(x + delta) = rmsnorm'(dh)
//
// load() divides the weight of the norm by s.
//
// Rows go through W in chunks, and a chunk's gradient is taken while its logits are there, so that neither the [L,V]
// logits nor their gradient ever exist. W and the norm are frozen.
#pragma once

#include <algorithm>
#include <bit>
#include <span>
#include <vector>

#include "quaff/model/block.h"
#include "quaff/model/frozen_matrix.h"
#include "quaff/model/micro_batch.h"

namespace quaff {

struct LossSums {
    double loss = 0;  // sum over the labelled tokens
    int64_t labelled = 0;
    int64_t correct = 0;  // tokens whose argmax is the label
    // Per labelled row, in the batch's order; valid until the next pass.
    std::span<const float> losses;
    std::span<const uint8_t> correct_rows;
};

// How many rows of logits are in memory at once: enough to keep the GEMM busy, few enough to stay near 16 million
// elements, and a multiple of the libraries' tiles of 128 rows.
inline int64_t head_chunk_rows(int64_t vocab_size, int64_t max_labelled) {
    const int64_t rows = std::clamp<int64_t>((int64_t{16} << 20) / vocab_size, 16, 1024);
    return std::min(max_labelled, rows < 128 ? rows : rows / 128 * 128);
}

template <class Device>
class Head {
  public:
    using T = typename Device::compute_t;

    Head(const ModelFiles& checkpoint, int64_t max_labelled)
        : vocab_size_(checkpoint.config().vocab_size),
          hidden_size_(checkpoint.config().hidden_size),
          max_labelled_(max_labelled),
          tied_(checkpoint.config().tie_word_embeddings),
          eps_(static_cast<float>(checkpoint.config().rms_norm_eps)),
          norm_addend_(checkpoint.config().norms_add_one ? 1 / logits_scaling(checkpoint) : 0),
          soft_cap_(static_cast<float>(checkpoint.config().final_logit_softcapping)),
          stored_(checkpoint.dtype(tied_ ? checkpoint.embedding() : kHead)) {}

    // `embedding` has been laid out before.
    void layout(Arena<Device>& arena, const FrozenMatrix<Device>& embedding) {
        arena.place(norm_, MemoryKind::weights, "model.norm", hidden_size_);
        if (tied_)
            weight_ = embedding;
        else
            weight_.layout(arena, MemoryKind::embeddings, "lm_head", vocab_size_, hidden_size_, stored_);
        arena.place(losses_, MemoryKind::activations, "losses", max_labelled_);
        arena.place(correct_, MemoryKind::activations, "correct", max_labelled_);
        arena.place(divergences_, MemoryKind::activations, "divergences", max_labelled_);
        arena.place(logits_, MemoryKind::workspace, "logits", head_chunk_rows(vocab_size_, max_labelled_), vocab_size_);
        const ArenaScope scope(arena, "head");
        arena.place(residual_, MemoryKind::activations, "residual", max_labelled_, hidden_size_);
        arena.place(delta_, MemoryKind::activations, "delta", max_labelled_, hidden_size_);
        arena.place(normed_, MemoryKind::activations, "normed", max_labelled_, hidden_size_);
        arena.place(rstd_, MemoryKind::activations, "rstd", max_labelled_);
    }
    // Elements that `widened` below must have. It is LinearWorkspace's.
    int64_t widened_size(const Device& device) const {
        return weight_.workspace(device, vocab_size_, hidden_size_, stored_);
    }
    void load(const Device& device, const ModelFiles& checkpoint) {
        if (!tied_) weight_.load(device, checkpoint, kHead);
        fill_from_host(device, Matrix<T>(norm_.data(), 1, hidden_size_), [&](Matrix<float> host) {
            checkpoint.read(kLastNorm, host);
            for (int64_t c = 0; c < hidden_size_; c++) host(0, c) /= logits_scaling(checkpoint);
        });
    }

    // The losses of the labelled rows of `stream` [N,C]; with grad_scale != 0 also the gradient of grad_scale * loss at
    // them, for backward().
    void forward(const Device& device, Stream<Device> stream, const MicroBatch<Device>& batch, float grad_scale,
                 std::span<T> widened) {
        const Matrix<T> h = normed_rows(device, stream, batch.label_rows());
        for (int64_t begin = 0; begin < h.rows; begin += logits_.rows) {
            const Matrix<T> chunk = h.rows_at(begin, std::min(logits_.rows, h.rows - begin));
            const std::span<const int32_t> labels = batch.label_ids().subspan(begin, chunk.rows);
            float* losses = losses_.data() + begin;
            uint8_t* correct = correct_.data() + begin;

            const Matrix<T> logits = uncapped_logits_of(device, chunk, widened);
            if (grad_scale == 0 && soft_cap_ == 0) {
                cross_entropy_forward<T>(device, losses, correct, logits, labels);
                continue;
            }
            // With a cap for an evaluation, too: here it is applied in fp32.
            const Matrix<T> dlogits = logits, dh = chunk;  // in place: neither is read again
            cross_entropy_forward_backward<T>(device, losses, correct, dlogits, labels, grad_scale, soft_cap_);
            if (grad_scale != 0) weight_.multiply_back(for_gradients(device), dh, dlogits, widened);
        }
        if (grad_scale == 0) return;
        const Matrix<T> residual = residual_.first_rows(h.rows), dresidual = delta_.first_rows(h.rows);
        set_zero<T>(device, dresidual);
        rmsnorm_backward<T>(device, dresidual, h, residual, rstd_.data(), norm_weight());
    }

    // dstream [N,C] = the gradient of the last forward() at its labelled rows, zero at the others.
    void backward(const Device& device, Matrix<T> dstream, const MicroBatch<Device>& batch) const {
        scatter_rows<T>(device, dstream, delta_.first_rows(batch.n_labelled()), batch.label_rows());
    }

    // Of the last forward(). Waits for the device.
    LossSums losses(const Device& device, int64_t n_labelled) {
        LossSums sums;
        sums.labelled = n_labelled;
        sums.losses = on_host(device, losses_, n_labelled, host_losses_);
        sums.correct_rows = on_host(device, correct_, n_labelled, host_correct_);
        for (int64_t i = 0; i < n_labelled; i++) {
            sums.loss += sums.losses[i];
            sums.correct += sums.correct_rows[i];
        }
        return sums;
    }

    // The sum over the labelled rows of KL(p || q), in nats. q: the probabilities of the last forward(); p: those of
    // `reference`'s, which had the same batch. Neither took a gradient. Waits for the device.
    double divergence_from(const Device& device, const Head& reference, int64_t n_labelled, std::span<T> widened) {
        for (int64_t begin = 0; begin < n_labelled; begin += logits_.rows) {
            const int64_t rows = std::min(logits_.rows, n_labelled - begin);
            const Matrix<T> p = reference.logits_of(device, reference.normed_.rows_at(begin, rows), widened);
            const Matrix<T> q = logits_of(device, normed_.rows_at(begin, rows), widened);
            kl_divergence<T>(device, divergences_.data() + begin, p, q);
        }
        double sum = 0;
        for (const float divergence : on_host(device, divergences_, n_labelled, host_losses_)) sum += divergence;
        return sum;
    }

    // The most rows that logits() takes at once.
    int64_t most_rows() const { return std::min(logits_.rows, residual_.rows); }
    // Logits [rows,V] of all rows of `stream`, at most most_rows(); valid until the next pass.
    Matrix<T> logits(const Device& device, Stream<Device> stream, std::span<T> widened) {
        return logits_of(device, normed(device, stream), widened);
    }
    // Logits [L,V] of the labelled rows, at most most_rows() of them.
    Matrix<T> logits(const Device& device, Stream<Device> stream, const MicroBatch<Device>& batch,
                     std::span<T> widened) {
        return logits_of(device, normed_rows(device, stream, batch.label_rows()), widened);
    }

    // Runs both products so that the device's libraries choose their algorithms. The last chunk of labelled rows may
    // have any length, and lengths with the same three leading bits share an algorithm: one of each is enough.
    void rehearse(const Device& device, std::span<T> widened) {
        for (int64_t rows = 1; rows <= logits_.rows; rows += std::max<int64_t>(1, std::bit_floor<uint64_t>(rows) / 4)) {
            const Matrix<T> h = normed_.first_rows(rows);
            weight_.multiply_back(device, h, logits_of(device, h, widened), widened);
        }
    }

  private:
    static float logits_scaling(const ModelFiles& checkpoint) {
        return static_cast<float>(checkpoint.config().logits_scaling);
    }
    NormWeight<T> norm_weight() const { return {norm_.data(), norm_addend_}; }
    // h = rmsnorm(x + delta) [rows,C]; x + delta and rstd are kept for the backward pass.
    Matrix<T> normed(const Device& device, Stream<Device> stream) {
        const int64_t rows = stream.x.rows;
        const Matrix<T> h = normed_.first_rows(rows), residual = residual_.first_rows(rows);
        rmsnorm_forward<T>(device, h, residual, rstd_.data(), stream.x, stream.delta, norm_weight(), eps_);
        return h;
    }
    // The same of these rows alone.
    Matrix<T> normed_rows(const Device& device, Stream<Device> stream, std::span<const int32_t> rows) {
        const auto n = static_cast<int64_t>(rows.size());
        const Matrix<T> x = residual_.first_rows(n), delta = delta_.first_rows(n);
        gather_rows<T>(device, x, stream.x, rows);
        gather_rows<T>(device, delta, stream.delta, rows);
        return normed(device, {x, delta});
    }
    Matrix<T> uncapped_logits_of(const Device& device, Matrix<T> h, std::span<T> widened) const {
        const Matrix<T> logits = logits_.first_rows(h.rows);
        weight_.multiply(device, logits, h, 0, widened);
        return logits;
    }
    void cap(const Device& device, Matrix<T> logits) const {
        if (soft_cap_ > 0) soft_cap<T>(device, logits, soft_cap_);
    }
    Matrix<T> logits_of(const Device& device, Matrix<T> h, std::span<T> widened) const {
        const Matrix<T> logits = uncapped_logits_of(device, h, widened);
        cap(device, logits);
        return logits;
    }

    template <class V>
    static std::span<const V> on_host(const Device& device, std::span<V> values, int64_t n, std::vector<V>& staging) {
        const Matrix<const V> row = host_view(device, Matrix<V>(values.data(), 1, n), staging);
        return {row.data, static_cast<size_t>(n)};
    }

    int64_t vocab_size_, hidden_size_, max_labelled_;  // V, C, L
    bool tied_;
    float eps_, norm_addend_;         // of the norm, and of its weights
    float soft_cap_;                  // c; 0: none
    DType stored_;                    // W's type in the model's file
    FrozenMatrix<Device> weight_;     // W
    std::span<T> norm_;               // [C]
    Matrix<T> residual_;              // x + delta of the labelled rows [L,C]
    Matrix<T> delta_;                 // delta of them, then the gradient of x + delta [L,C]
    Matrix<T> normed_;                // h, then its gradient [L,C]
    std::span<float> rstd_;           // [L]
    Matrix<T> logits_;                // [chunk,V]
    std::span<float> losses_;         // [L]
    std::span<uint8_t> correct_;      // [L]
    std::span<float> divergences_;    // [L]
    std::vector<float> host_losses_;  // copies for LossSums, unless the device's memory is the host's
    std::vector<uint8_t> host_correct_;
};

}  // namespace quaff
