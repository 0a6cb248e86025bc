// A model of any family of model_family.h with a frozen int8 body and LoRA adapters: forward, backward, step.
//
//   micro_batch.h   ids, positions and labels on their way to the device
//   frozen_matrix.h hidden = embedding(ids)
//   block.h         hidden = block(hidden), for each of them; their linears are quantized_linear.h
//   head.h          loss of the labelled rows of hidden, and its gradient
//   parameters.h    the adapters: values, gradients, AdamW
//   generator.h     text, token by token
//
// What needs a device's operators is defined in model_definitions.h and compiled once per device, in model.cpp and
// cuda/model_*.cu. This header can be included anywhere.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "llmc/core/arena.h"
#include "llmc/cpu/transfer.h"
#include "llmc/data/batch.h"
#include "quaff/files/outliers.h"
#include "quaff/model/block.h"
#include "quaff/model/head.h"
#include "quaff/model/micro_batch.h"
#include "quaff/model/parameters.h"

namespace quaff {

enum class Recompute { none, block, automatic };

struct BuildOptions : MicroBatchLimits, MethodChoices {
    Method method = Method::quaff;
    LoraConfig lora;
    double scale_momentum = 0.1;
    int grad_bits = 8;
    InitialLora initial_lora = InitialLora::kaiming;
    double b_learning_rate_ratio = 1;  // LoRA+ (parameters.h)
    uint64_t seed = 0;
    bool training = true;  // false: no gradients, no optimiser, nothing kept for backward
    bool adapters = true;  // false: no LoRA at all, a plain (quantised) model

    Recompute recompute = Recompute::automatic;
    int64_t memory_limit = 0;  // bytes that `automatic` must stay under; 0: no limit

    // The fewest gradients that the ranks sum at a time: 4 MiB, which a network moves at its full speed.
    int64_t bucket_size = int64_t{1} << 20;

    LinearMethod linear() const { return linear_method(method, *this); }
};

// The scales of one joint layer.
struct LayerScales {
    std::string module;  // "model.layers.0.mlp.down_proj"
    std::vector<float> s;
    bool initialised;  // false: the first training forward sets them outright
};

template <class Device>
class Model {
  public:
    using T = typename Device::compute_t;

    // Plans and, unless `plan_only`, allocates and loads. Throws Error if the checkpoint does not fit its config, an
    // outlier channel is out of range, or memory is short.
    Model(const Device& device, const ModelFiles& checkpoint, const OutlierChannels& outliers,
          const BuildOptions& options, bool plan_only = false);

    const ModelConfig& config() const { return config_; }
    const BuildOptions& options() const { return options_; }
    const Device& device() const { return device_; }
    Comm& comm() const { return *device_.comm; }  // the ranks that train this model together
    const MemoryPlan& plan() const { return arena_.plan(); }
    int64_t n_recomputed() const { return n_recomputed_; }  // blocks 0 .. n-1 keep only their input
    int64_t max_sequence_length() const { return options_.max_sequence_length; }
    const RopeTable& rope() const { return batch_.rope(); }

    // One micro-batch of training: moves s, applies dropout number `micro_batch`, and takes the head's gradient.
    // `grad_scale` multiplies the gradient: 1 / labelled tokens of the whole accumulation window.
    void forward(const Batch& batch, float grad_scale, uint64_t micro_batch);
    // Adds the gradient of the batch of the last forward() to gradients(). With `last`, the last of this rank's share
    // of a step, they begin to be summed over all ranks as soon as they are complete, from the top block down.
    void backward(const Batch& batch, bool last = false);
    // Replaces both on a rank that has no micro-batch while others have one: its scales move with theirs.
    void follow();
    // gradients() = their sum over all ranks, which backward() has begun or which begins here.
    void sum_gradients();
    // Of the last forward(). Waits for the device, so call it after all work of a step has been queued.
    LossSums losses();
    // The losses alone: s stays, nothing is dropped, and no gradient is taken.
    LossSums evaluate(const Batch& batch);
    // After evaluate() of one batch by both: the sum over its labelled tokens of KL(p_reference || p_this), in nats.
    // `reference` has the same config and at least this model's room. Waits for the device.
    double divergence_from(const Model& reference);
    // gradients() = those of the mean loss over the batch's labelled tokens, on this rank alone. s stays, nothing is
    // dropped.
    void take_gradients(const Batch& batch);
    // Runs both passes on a batch like those to come, so that the device's libraries choose their algorithms and load
    // their kernels. s stays; the gradients are zero afterwards.
    void rehearse(const Batch& batch);
    // Logits of every row [N, V], row-major. For tests and tools: it holds all of them at once.
    std::vector<float> logits(const Batch& batch);
    // For Generator: runs the tokens of `batch`, the last ones of a text of `total_length` tokens. The keys and values
    // of those before are in `caches`, one for each block; those of `batch` are appended. Returns the logits of the
    // labelled row [V], valid until the next call.
    std::span<const float> next_logits(const Batch& batch, int64_t total_length,
                                       std::vector<KeyValueCache<Device>>& caches);
    // Throws Error unless a micro-batch of `n_tokens` in sequences of up to `longest` fits the planned memory.
    void require_room(int64_t n_tokens, int64_t longest) const { batch_.require_room(n_tokens, longest); }

    void zero_gradients();
    double gradient_norm() const;
    // AdamW on the adapters with gradients * grad_scale; `step` counts from 1.
    void step(const AdamWOptions& adamw, int64_t step, float grad_scale);

    // In device memory; one order for all four. read() and write() are how the host gets at them.
    std::span<float> parameters() { return parameters_.values(); }
    std::span<float> gradients() { return parameters_.gradients(); }
    std::span<float> adam_m() { return parameters_.adam_m(); }
    std::span<float> adam_v() { return parameters_.adam_v(); }
    std::vector<LoraAdapter> adapters() const;  // views of them
    std::vector<float> read(std::span<const float> device_values) const;
    void write(std::span<float> device_values, std::span<const float> values);

    // Of all layers, in the order of the blocks.
    std::vector<LayerScales> scales() const;
    void set_scales(const std::vector<LayerScales>& scales);
    // Gives a linear, by its place in that order, as many other outlier channels as it has, ascending. Their columns
    // are read from the model's files. Channels that stay keep their s; others begin with that of `max_abs`, the
    // largest |X| in each of `channels`.
    void set_channels(size_t linear, const std::vector<int32_t>& channels, const std::vector<float>& max_abs,
                      const ModelFiles& checkpoint);
    // From now on every training pass shows the inputs of all linears, in that order, to one of these each.
    void track(std::span<OutlierTracker> trackers);
    // Keep the scales as they are, on the device, and go back to them.
    void keep_scales();
    void restore_scales();

    // Where the first NaN or infinity stands, or "" (find_nonfinite.h). After a training pass that went wrong: "scale
    // of ...", "output of model.layers.3", "gradient of lora_A of ...".
    std::string find_nonfinite();
    // The same for scales, adapters and their moments alone: what a checkpoint holds.
    std::string find_nonfinite_state();
    // After an evaluation of `batch` whose loss is not finite: evaluates it once more and looks on the way. "the scale
    // of ...", "the embedding", "the output of model.layers.3", "the logits".
    std::string find_nonfinite(const Batch& batch);

  private:
    void configure(const ModelFiles& checkpoint, const OutlierChannels& outliers);
    void configure_adapters();
    void choose_recompute();
    // Everything the model holds (arena.h).
    void layout(Arena<Device>& arena);
    void layout_activations(Arena<Device>& arena);
    void load(const ModelFiles& checkpoint);

    // Sends the batch to the device and notes what the pass is for. total_length: MicroBatch::send().
    void begin(const Batch& batch, Mode mode, int64_t total_length = 0);
    Stream<Device> embed();
    Stream<Device> run_blocks(std::vector<KeyValueCache<Device>>* caches = nullptr);
    // Where a block keeps what its backward pass reads. Without training, all of them share one set.
    BlockActivations<Device>& activations_of(size_t block) { return activations_[options_.training ? block : 0]; }

    Device device_;
    ModelConfig config_;
    BuildOptions options_;
    Arena<Device> arena_;
    int64_t n_recomputed_ = 0;

    MicroBatch<Device> batch_;
    PassInfo pass_;
    DType embedding_type_;
    FrozenMatrix<Device> embedding_;  // [V,C]
    std::vector<Block<Device>> blocks_;
    Head<Device> head_;
    Parameters<Device> parameters_;

    std::vector<BlockActivations<Device>> activations_;
    BlockWorkspace<Device> workspace_;
    Matrix<T> dresidual_;  // gradient of the residual stream [max_tokens,C]
    std::vector<float> host_logits_;
};

}  // namespace quaff
