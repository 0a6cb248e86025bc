// What a Model does: planning and loading, its passes, its scales. Included where Model is instantiated, after the
// device's operators: model.cpp, cuda/model.cuh, and benchmarks with a device of their own.
#pragma once

#include <algorithm>
#include <array>
#include <utility>

#include "quaff/model/find_nonfinite.h"
#include "quaff/model/linears_of.h"
#include "quaff/model/model.h"
#include "quaff/model/watched_channels.h"

namespace quaff {

// ---- before the first pass -----------------------------------------------------------------------------------------

template <class Device>
Model<Device>::Model(const Device& device, const ModelFiles& checkpoint, const OutlierChannels& outliers,
                     const BuildOptions& options, bool plan_only)
    // Only gradients that int8 rounds may be rounded more than the forward pass.
    : device_(options.linear().int8 && options.grad_bits == 8 ? device : with_one_type(device)),
      config_(checkpoint.config()),
      options_(options),
      arena_(device, kMemoryKinds),
      batch_(config_, options),
      embedding_type_(checkpoint.dtype(checkpoint.embedding())),
      head_(checkpoint, options.max_labelled) {
    require(options_.max_tokens > 0 && options_.max_sequence_length > 0, "a model needs room for at least one token");
    configure(checkpoint, outliers);
    if (options_.adapters) configure_adapters();
    choose_recompute();
    const auto everything = [this](Arena<Device>& arena) { layout(arena); };
    if (plan_only) {
        arena_.dry_run(everything);
        return;
    }
    arena_.build(everything);
    load(checkpoint);
    if (options_.adapters) parameters_.initialise(device_, blocks_, options_.initial_lora, options_.seed);
}

// Those of one layer. Throws Error if they are of another model.
inline LayerOutliers outliers_of(const OutlierChannels& all, const std::string& module, int64_t in_features) {
    LayerOutliers of_layer;
    if (const auto found = all.channels.find(module); found != all.channels.end()) of_layer.channels = found->second;
    for (const int32_t channel : of_layer.channels)
        require(channel >= 0 && channel < in_features, "outlier channel ", channel, " of ", module, " is outside 0 .. ",
                in_features - 1, "; the outlier file belongs to another model");
    if (const auto found = all.max_abs.find(module); found != all.max_abs.end()) of_layer.max_abs = found->second;
    require(of_layer.max_abs.empty() || of_layer.max_abs.size() == of_layer.channels.size(), module, " has ",
            of_layer.channels.size(), " outlier channels, but max_abs lists ", of_layer.max_abs.size());
    return of_layer;
}

template <class Device>
void Model<Device>::configure(const ModelFiles& checkpoint, const OutlierChannels& outliers) {
    const LinearMethod method = options_.linear();
    const std::vector<DType> stored = stored_types(checkpoint);
    const std::vector<JointLinear> joints = joint_linears(config_);
    blocks_.resize(static_cast<size_t>(config_.num_hidden_layers));
    for (size_t layer = 0; layer < blocks_.size(); layer++) {
        std::vector<LayerOutliers> of_block(kLayersPerBlock);
        for (int k = 0; k < kLayersPerBlock && method.outliers; k++) {
            const std::string module = block_name(config_, static_cast<int64_t>(layer)) + "." + joints[k].name;
            of_block[k] = outliers_of(outliers, module, joints[k].in_features);
        }
        blocks_[layer].configure(config_, static_cast<int64_t>(layer), method, std::move(of_block), stored);
    }
}

template <class Device>
void Model<Device>::configure_adapters() {
    require_linear_targets(options_.lora, config_, "target_modules");
    const std::vector<JointLinear> joints = all_joint_linears(config_);
    auto joint = joints.begin();
    for (QuantizedLinear<Device>& linear : linears_of(blocks_)) {
        int64_t out_begin = 0;
        for (const LinearPart& part : joint->parts) {
            if (options_.lora.targets(part.name)) {
                LoraAdapter& adapter = linear.adapters.emplace_back();
                adapter.module = part.name;
                adapter.b.rows = part.out_features;
                adapter.b.cols = options_.lora.rank(part.name);
                adapter.scaling = static_cast<float>(options_.lora.scaling(part.name));
                adapter.out_begin = out_begin;
            }
            out_begin += part.out_features;
        }
        ++joint;
    }
}

// `automatic`: as few recomputed blocks as keep the plan under the limit.
template <class Device>
void Model<Device>::choose_recompute() {
    const int64_t all = options_.training ? config_.num_hidden_layers : 0;
    n_recomputed_ = options_.recompute == Recompute::block ? all : 0;
    if (options_.recompute != Recompute::automatic || options_.memory_limit <= 0) return;
    for (; n_recomputed_ < all; n_recomputed_++) {
        Arena<Device> trial(device_, kMemoryKinds);
        const MemoryPlan& plan = trial.dry_run([this](Arena<Device>& arena) { layout(arena); });
        if (plan.total() <= options_.memory_limit) return;
    }
}

template <class Device>
void Model<Device>::layout(Arena<Device>& arena) {
    for (Block<Device>& block : blocks_) block.layout_weights(arena, device_);
    embedding_.layout(arena, MemoryKind::embeddings, "model.embed_tokens", config_.vocab_size, config_.hidden_size,
                      embedding_type_);
    if (options_.adapters) parameters_.layout(arena, device_, blocks_, options_.training, options_.bucket_size);
    layout_activations(arena);
    batch_.layout(arena);
    head_.layout(arena, embedding_);
}

// The largest ranks() of any block.
template <class Device>
std::array<int64_t, kLayersPerBlock> widest_ranks(const std::vector<Block<Device>>& blocks) {
    std::array<int64_t, kLayersPerBlock> widest{};
    for (const Block<Device>& block : blocks) {
        for (int k = 0; k < kLayersPerBlock; k++) widest[k] = std::max(widest[k], block.linears[k].rank());
    }
    return widest;
}

template <class Device>
void Model<Device>::layout_activations(Arena<Device>& arena) {
    const int64_t n = options_.max_tokens;
    const bool training = options_.training;
    const int64_t n_sets = training ? config_.num_hidden_layers : 1;
    const int64_t n_shared = training ? n_recomputed_ : 1;  // sets that share all but their input
    activations_.assign(static_cast<size_t>(n_sets), {});

    BlockActivations<Device> shared;
    if (n_shared > 0) {
        const ArenaScope scope(arena, "recomputed block");
        blocks_[0].layout_activations(arena, shared, n, widest_ranks<Device>(blocks_));
    }
    for (int64_t layer = 0; layer < n_sets; layer++) {
        const ArenaScope scope(arena, concat("block ", layer));
        if (layer < n_shared)
            activations_[layer] = blocks_[layer].own_part(shared);
        else
            blocks_[layer].layout_activations(arena, activations_[layer], n, blocks_[layer].ranks());
        blocks_[layer].layout_input(arena, activations_[layer], n);
    }

    LinearWorkspaceSizes sizes;
    sizes.widened = head_.widened_size(device_);
    for (const QuantizedLinear<Device>& linear : linears_of(blocks_))
        linear.size_workspace(device_, sizes, n, training, static_cast<float>(options_.lora.lora_dropout),
                              options_.grad_bits);
    blocks_[0].layout_workspace(arena, device_, workspace_, n, training);
    workspace_.linear.layout(arena, sizes);
    arena.place(dresidual_, MemoryKind::workspace, "dresidual", training ? n : 0, config_.hidden_size);
}

template <class Device>
void Model<Device>::load(const ModelFiles& checkpoint) {
    batch_.load(device_);
    embedding_.load(device_, checkpoint, checkpoint.embedding());
    head_.load(device_, checkpoint);
    std::vector<float> staging;
    for (size_t layer = 0; layer < blocks_.size(); layer++)
        blocks_[layer].load(device_, checkpoint, static_cast<int64_t>(layer), staging);
}

// ---- passes --------------------------------------------------------------------------------------------------------

template <class Device>
void Model<Device>::begin(const Batch& batch, Mode mode, int64_t total_length) {
    batch_.send(device_, batch, total_length);
    pass_ = {.mode = mode,
             .dropout = static_cast<float>(options_.lora.lora_dropout),
             .scale_momentum = static_cast<float>(options_.scale_momentum),
             .grad_bits = options_.grad_bits,
             .seed = options_.seed,
             .micro_batch = 0};
}

template <class Device>
Stream<Device> Model<Device>::embed() {
    const Matrix<T> hidden = activations_[0].around_attention.residual.first_rows(batch_.n_tokens());
    embedding_.look_up(device_, hidden, batch_.ids());
    if (config_.embedding_multiplier != 1)
        scale<T>(device_, hidden, hidden, static_cast<float>(config_.embedding_multiplier));
    return {hidden, {}};
}

template <class Device>
Stream<Device> Model<Device>::run_blocks(std::vector<KeyValueCache<Device>>* caches) {
    Stream<Device> stream = embed();
    for (size_t block = 0; block < blocks_.size(); block++)
        stream = blocks_[block].forward(device_, stream, batch_.sequences(), activations_of(block), pass_, workspace_,
                                        caches ? &(*caches)[block] : nullptr);
    return stream;
}

template <class Device>
void Model<Device>::forward(const Batch& batch, float grad_scale, uint64_t micro_batch) {
    require(options_.training && options_.adapters,
            "this model was built for evaluation only (BuildOptions::training)");
    begin(batch, Mode::train);
    pass_.micro_batch = micro_batch;
    head_.forward(device_, run_blocks(), batch_, grad_scale, workspace_.linear.widened);
}

template <class Device>
void Model<Device>::backward(const Batch& batch, bool last) {
    const int64_t n = batch.n_tokens();
    require(pass_.mode != Mode::evaluate && n == batch_.n_tokens(), "backward() needs the batch of the last forward()");
    const Matrix<T> dresidual = dresidual_.first_rows(n);
    head_.backward(device_, dresidual, batch_);

    // Blocks below the lowest adapter are not visited.
    size_t lowest = 0;
    while (lowest < blocks_.size() && !blocks_[lowest].has_adapters()) lowest++;

    for (size_t block = blocks_.size(); block-- > lowest;) {
        const BlockActivations<Device>& saved = activations_[block];
        if (static_cast<int64_t>(block) < n_recomputed_) {
            PassInfo again = pass_;
            again.mode = Mode::recompute;
            const Matrix<T> r1 = saved.around_attention.residual.first_rows(n);
            blocks_[block].forward(device_, {r1, {}}, batch_.sequences(), saved, again, workspace_);
        }
        blocks_[block].backward(for_gradients(device_), dresidual, batch_.sequences(), saved, pass_, workspace_,
                                block > lowest);
        if (last) parameters_.start_sums(comm(), block);
    }
}

template <class Device>
void Model<Device>::sum_gradients() {
    parameters_.finish_sums(comm());
}

template <class Device>
LossSums Model<Device>::losses() {
    return head_.losses(device_, batch_.n_labelled());
}

template <class Device>
LossSums Model<Device>::evaluate(const Batch& batch) {
    begin(batch, Mode::evaluate);
    head_.forward(device_, run_blocks(), batch_, /*grad_scale=*/0, workspace_.linear.widened);
    return losses();
}

template <class Device>
double Model<Device>::divergence_from(const Model& reference) {
    const int64_t n = batch_.n_labelled();
    require(pass_.mode == Mode::evaluate && reference.pass_.mode == Mode::evaluate &&
                reference.batch_.n_labelled() == n && reference.config_.vocab_size == config_.vocab_size,
            "two models can be compared after both have evaluated the same batch");
    return head_.divergence_from(device_, reference.head_, n, workspace_.linear.widened);
}

template <class Device>
void Model<Device>::take_gradients(const Batch& batch) {
    require(options_.training && options_.adapters,
            "this model was built for evaluation only (BuildOptions::training)");
    zero_gradients();
    begin(batch, Mode::recompute);
    pass_.dropout = 0;
    head_.forward(device_, run_blocks(), batch_, 1.0f / static_cast<float>(std::max<int64_t>(batch.n_labelled(), 1)),
                  workspace_.linear.widened);
    backward(batch);
}

template <class Device>
void Model<Device>::rehearse(const Batch& batch) {
    begin(batch, Mode::recompute);
    head_.forward(device_, run_blocks(), batch_, /*grad_scale=*/1, workspace_.linear.widened);
    backward(batch);
    zero_gradients();
    head_.rehearse(device_, workspace_.linear.widened);
}

template <class Device>
std::vector<float> Model<Device>::logits(const Batch& batch) {
    const int64_t n = batch.n_tokens(), at_once = head_.most_rows();
    require(at_once > 0, "a model that is planned for no labelled token has no head to make logits with");
    begin(batch, Mode::evaluate);
    const Stream<Device> stream = run_blocks();
    std::vector<float> out, staging;
    for (int64_t begin = 0; begin < n; begin += at_once) {
        const Stream<Device> rows = stream.rows_at(begin, std::min(at_once, n - begin));
        const Matrix<T> chunk = head_.logits(device_, rows, workspace_.linear.widened);
        const Matrix<const float> made = host_view(device_, chunk, staging);
        out.insert(out.end(), made.data, made.data + made.size());
    }
    return out;
}

template <class Device>
std::span<const float> Model<Device>::next_logits(const Batch& batch, int64_t total_length,
                                                  std::vector<KeyValueCache<Device>>& caches) {
    begin(batch, Mode::evaluate, total_length);
    const Matrix<T> logits = head_.logits(device_, run_blocks(&caches), batch_, workspace_.linear.widened);
    const Matrix<const float> host = host_view(device_, logits, host_logits_);
    return {host.data, static_cast<size_t>(host.cols)};
}

// ---- what is trained -----------------------------------------------------------------------------------------------

template <class Device>
void Model<Device>::zero_gradients() {
    parameters_.zero_gradients(device_);
}

template <class Device>
double Model<Device>::gradient_norm() const {
    return parameters_.gradient_norm(device_);
}

template <class Device>
void Model<Device>::step(const AdamWOptions& adamw, int64_t step, float grad_scale) {
    parameters_.step(device_, adamw, options_.b_learning_rate_ratio, step, grad_scale);
}

template <class Device>
std::vector<float> Model<Device>::read(std::span<const float> device_values) const {
    std::vector<float> staging;
    const Matrix<const float> row(device_values.data(), 1, static_cast<int64_t>(device_values.size()));
    const Matrix<const float> host = host_view(device_, row, staging);
    return {host.data, host.data + host.size()};
}

template <class Device>
void Model<Device>::write(std::span<float> device_values, std::span<const float> values) {
    set_values(device_, device_values, values);
    parameters_.round(device_);
}

template <class Device>
std::vector<LoraAdapter> Model<Device>::adapters() const {
    std::vector<LoraAdapter> all;
    for (const QuantizedLinear<Device>& linear : linears_of(blocks_))
        all.insert(all.end(), linear.adapters.begin(), linear.adapters.end());
    return all;
}

// ---- scales --------------------------------------------------------------------------------------------------------

template <class Device>
void Model<Device>::follow() {
    for (QuantizedLinear<Device>& linear : linears_of(blocks_))
        if (MomentumScales<Device>* scales = linear.weight.scales())
            scales->follow(device_, static_cast<float>(options_.scale_momentum), workspace_.linear);
}

template <class Device>
std::vector<LayerScales> Model<Device>::scales() const {
    std::vector<LayerScales> all;
    for (const QuantizedLinear<Device>& linear : linears_of(blocks_)) {
        LayerScales& of_layer = all.emplace_back(LayerScales{linear.shape.module, {}, false});
        if (const MomentumScales<Device>* scales = linear.weight.scales()) {
            of_layer.s = read(scales->s);
            of_layer.initialised = scales->initialised;
        }
    }
    return all;
}

template <class Device>
void Model<Device>::set_scales(const std::vector<LayerScales>& scales) {
    auto layer = scales.begin();
    for (QuantizedLinear<Device>& linear : linears_of(blocks_)) {
        MomentumScales<Device>* own = linear.weight.scales();
        require(layer != scales.end() && layer->module == linear.shape.module &&
                    layer->s.size() == (own ? own->s.size() : 0),
                "the scales of ", linear.shape.module, " are not those of this model");
        if (own) {
            set_values(device_, own->s, layer->s);
            own->initialised = layer->initialised;
        }
        ++layer;
    }
}

template <class Device>
void Model<Device>::keep_scales() {
    for (QuantizedLinear<Device>& linear : linears_of(blocks_))
        if (MomentumScales<Device>* scales = linear.weight.scales()) scales->keep(device_);
}

template <class Device>
void Model<Device>::restore_scales() {
    for (QuantizedLinear<Device>& linear : linears_of(blocks_))
        if (MomentumScales<Device>* scales = linear.weight.scales()) scales->restore(device_);
}

}  // namespace quaff
