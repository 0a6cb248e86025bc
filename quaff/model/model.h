// A LLaMA, Mistral or Phi-3 model with a frozen int8 body and LoRA adapters: forward, backward, step.
//
//   hidden = embedding(ids);  blocks (block.h);  h = rmsnorm(labelled rows of hidden);  logits = h head^T
//   loss   = sum over labelled rows of cross-entropy(logits, label)
//
// Only labelled rows reach the head, in chunks whose gradient is taken while the logits are there, so that neither the
// [N, V] logits nor their gradient ever exist. Memory is planned by layout(), which runs once dry and once for real.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "llmc/core/arena.h"
#include "llmc/cpu/transfer.h"
#include "llmc/data/batch.h"
#include "quaff/files/outliers.h"
#include "quaff/model/block.h"
#include "quaff/model/rope_table.h"

namespace quaff {

enum class Recompute { none, block, automatic };

struct BuildOptions {
    Method method = Method::quaff;
    LoraOptions lora;
    float scale_momentum = 0.1f;
    int grad_bits = 8;
    uint64_t seed = 0;
    bool training = true;  // false: no gradients, no optimiser, nothing kept for backward
    bool adapters = true;  // false: no LoRA at all, a plain (quantised) model

    // The largest micro-batch there will be. Memory is planned for it; a larger one is refused. Sequences longer than
    // max_tokens are for generation, token by token.
    int64_t max_tokens = 0;
    int64_t max_sequence_length = 0;
    int64_t max_labelled = 0;

    Recompute recompute = Recompute::automatic;
    int64_t memory_limit = 0;  // bytes that `automatic` must stay under; 0: no limit

    // Gradients that are summed over the ranks at a time, at the least: 4 MiB, which a network moves at its full speed.
    int64_t bucket_size = int64_t{1} << 20;
};

struct LossSums {
    double loss = 0;  // sum over the labelled tokens
    int64_t labelled = 0;
    int64_t correct = 0;  // tokens whose argmax is the label
    // Per labelled row, in the batch's order; valid until the next pass.
    std::span<const float> losses;
    std::span<const uint8_t> correct_rows;
};

// The scales of one joint layer.
struct LayerScales {
    std::string module;  // "model.layers.0.mlp.down_proj"
    std::vector<float> s;
    bool initialised;  // false: the first training forward sets them outright
};

// Gradients that the ranks sum together: those of one block, or of several that follow each other.
struct GradientBucket {
    size_t first_block;  // all of it is complete when the backward pass has left this block
    int64_t begin, size;
};

template <class Device>
class Generator;

template <class Device>
class Model {
  public:
    using T = typename Device::compute_t;

    // Plans and, unless `plan_only`, allocates and loads. Throws Error for a checkpoint that does not fit its config,
    // an outlier channel out of range, or memory that is not there.
    Model(const Device& device, const ModelFiles& checkpoint, const OutlierChannels& outliers,
          const BuildOptions& options, bool plan_only = false);

    const ModelConfig& config() const { return config_; }
    const BuildOptions& options() const { return options_; }
    const MemoryPlan& plan() const { return arena_.plan(); }
    int64_t n_recomputed() const { return n_recomputed_; }

    // One micro-batch of training: moves s, applies dropout number `micro_batch`, and takes the head's gradient.
    // `grad_scale` multiplies the gradient: 1 / labelled tokens of the whole accumulation window.
    void forward(const Batch& batch, float grad_scale, uint64_t micro_batch);
    // Adds the gradient of the batch of the last forward() to gradients(). With `last`, the last of this rank's share
    // of a step, they begin to be summed over all ranks as soon as they are complete, from the top block down.
    void backward(const Batch& batch, bool last = false);
    // In place of both, by a rank that has no micro-batch where others have one: its scales move with theirs.
    void follow();
    // gradients() = their sum over all ranks, which was begun by backward() or is done from the beginning.
    void sum_gradients();
    // Of the last forward(). Waits for the device, so that a step asks when all of its work has been given out.
    LossSums losses();
    // s stays, nothing is dropped, no gradient.
    LossSums evaluate(const Batch& batch);
    // Both passes on such a batch for what they leave behind in the device's libraries: algorithms chosen, kernels
    // loaded. s stays; the gradients are zero afterwards.
    void rehearse(const Batch& batch);
    // Logits of every row [N, V], row-major. For tests and tools: this one does materialise them.
    std::vector<float> logits(const Batch& batch);

    // The ranks that train this model together.
    Comm& comm() const { return *device_.comm; }

    void zero_gradients();
    double gradient_norm() const;
    // AdamW on the adapters with gradients * grad_scale; `step` counts from 1.
    void step(const AdamWOptions& adamw, int64_t step, float grad_scale);

    // In device memory; one order for all four. read() and write() are how the host gets at them.
    std::span<float> parameters() { return parameters_; }
    std::span<float> gradients() { return gradients_; }
    std::span<float> adam_m() { return adam_m_; }
    std::span<float> adam_v() { return adam_v_; }
    std::vector<LoraAdapter> adapters() const;  // views of them
    std::vector<float> read(std::span<const float> device_values) const;
    void write(std::span<float> device_values, std::span<const float> values);

    // Of all layers, in the order of the blocks.
    std::vector<LayerScales> scales() const;
    void set_scales(const std::vector<LayerScales>& scales);
    // Keeps the scales as they are, on the device, and goes back to them.
    void keep_scales();
    void restore_scales();

    // After a pass that went wrong: the first tensor that holds a NaN or an infinity ("scale of ...", "output of
    // model.layers.3", "gradient of lora_A of ..."), or "".
    std::string find_nonfinite();
    // The same for what a checkpoint holds alone: scales, adapters and their moments.
    std::string find_nonfinite_state();

    // Largest sequence whose rotations are planned.
    int64_t max_sequence_length() const { return options_.max_sequence_length; }

  private:
    friend class Generator<Device>;

    void configure(const ModelFiles& checkpoint, const OutlierChannels& outliers);
    void choose_recompute();
    // Everything the model holds, asked for by name; run dry, then for real (arena.h).
    void layout(Arena<Device>& arena);
    void layout_adapters(Arena<Device>& arena);
    void layout_activations(Arena<Device>& arena);
    void load(const ModelFiles& checkpoint, const OutlierChannels& outliers);
    void initialise_adapters();
    // Those of the blocks from `block` on that are not on their way yet.
    void start_sums(size_t block);
    // The parameters as the passes compute with them, after every change.
    void round_parameters();

    // Throws unless the planned buffers hold `n_tokens` in sequences of up to `longest`.
    void check(int64_t n_tokens, int64_t longest) const;
    // Tells the device where the batch's tokens stand, and notes what the pass is for. total_length: of the text that a
    // single sequence continues, 0 where the sequences are whole.
    void begin(const Batch& batch, Mode mode, int64_t total_length = 0);
    // Integers of the largest micro-batch: ids, cu_seqlens and rope rows, label rows and ids.
    int64_t most_integers() const { return 3 * options_.max_tokens + 1 + 2 * options_.max_labelled; }
    SequenceInfo<Device> sequences() const { return {cu_seqlens_, max_length_, rope_rows_, cos_, sin_}; }
    // Runs the blocks; returns the residual stream (x, delta) above the last one.
    std::pair<Matrix<T>, Matrix<T>> run_blocks(std::vector<KeyValueCache<Device>>* caches = nullptr);
    void run_head(const Batch& batch, Matrix<const T> x, Matrix<const T> delta, float grad_scale);

    Device device_;
    ModelConfig config_;
    BuildOptions options_;
    RopeTable rope_;
    Arena<Device> arena_;
    int64_t n_recomputed_ = 0;  // blocks 0 .. n-1 keep only their input

    // Weights.
    FrozenMatrix<Device> embedding_, head_;  // [V,C]; the same memory where the embeddings are tied
    DType embedding_type_, head_type_;
    std::span<T> final_norm_;
    std::vector<Block<Device>> blocks_;
    Matrix<float> cos_, sin_;

    // Trained.
    std::span<float> parameters_, gradients_, adam_m_, adam_v_;
    std::vector<GradientBucket> buckets_;  // all gradients, those of the top blocks first
    size_t sums_started_ = 0;              // buckets that are being summed
    std::span<T> compute_parameters_;      // parameters_ rounded to T; the same memory where T is float

    // Activations and scratch. N: max_tokens, L: max_labelled.
    std::vector<BlockActivations<Device>> activations_;
    BlockWorkspace<Device> workspace_;
    Matrix<T> dresidual_;          // [N,C]
    std::span<double> norm_sums_;  // of the gradient norm
    Matrix<T> head_residual_;      // labelled rows of the residual stream [L,C]
    Matrix<T> head_delta_;         // what is still to be added to them; then the gradient of the sum [L,C]
    Matrix<T> head_normed_;        // input of the head, then its gradient [L,C]
    std::span<float> head_rstd_;   // [L]
    Matrix<T> logits_;             // [chunk,V]
    std::span<float> losses_;      // [L]
    std::span<uint8_t> correct_;   // [L]

    // The micro-batch being worked on.
    std::optional<typename Device::InputStaging> input_;
    std::span<int32_t> integers_;  // what came through it, and its parts:
    std::span<int32_t> ids_, cu_seqlens_, rope_rows_, label_rows_, label_ids_;
    int64_t n_tokens_ = 0, n_labelled_ = 0, max_length_ = 0;
    PassInfo pass_;
    std::vector<float> host_losses_;  // what LossSums shows, where the device's memory is not the host's
    std::vector<uint8_t> host_correct_;
};

// Text generation with a key/value cache, one sequence at a time.
template <class Device>
class Generator {
  public:
    using T = typename Device::compute_t;

    // `max_length`: prompt and answer together; at most model.max_sequence_length(). The prompt must fit max_tokens.
    Generator(Model<Device>& model, int64_t max_length);

    // Both return the logits of the last position [V], valid until the next call.
    std::span<const float> prefill(std::span<const int32_t> ids);
    std::span<const float> decode(int32_t id);

    int64_t length() const { return static_cast<int64_t>(ids_.size()); }

  private:
    std::span<const float> run(std::span<const int32_t> ids);

    Model<Device>& model_;
    Arena<Device> arena_;
    std::vector<KeyValueCache<Device>> caches_;
    std::vector<int32_t> ids_;
    std::vector<float> host_logits_;
    int64_t max_length_;
};

}  // namespace quaff
