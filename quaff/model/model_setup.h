// What a Model does before the first pass: planning its memory, reading its weights, laying out its adapters.
// Included where Model is instantiated.
#pragma once

#include "llmc/core/integers.h"
#include "llmc/core/philox.h"
#include "quaff/model/block_setup.h"
#include "quaff/model/model.h"

namespace quaff {

// Rows of logits that are in memory at once: enough to keep the GEMM busy, few enough to stay near 16 million elements,
// and whole tiles of the libraries' 128 rows.
inline int64_t head_chunk_rows(int64_t vocab_size, int64_t max_labelled) {
    const int64_t rows = std::clamp<int64_t>((int64_t{16} << 20) / vocab_size, 16, 1024);
    return std::min(max_labelled, rows < 128 ? rows : rows / 128 * 128);
}

template <class Device>
Model<Device>::Model(const Device& device, const ModelFiles& checkpoint, const OutlierChannels& outliers,
                     const BuildOptions& options, bool plan_only)
    : device_(device),
      config_(checkpoint.config()),
      options_(options),
      rope_(config_, options.max_sequence_length),
      arena_(device),
      embedding_type_(checkpoint.dtype(kEmbedding)),
      head_type_(config_.tie_word_embeddings ? embedding_type_ : checkpoint.dtype(kHead)) {
    require(options_.max_tokens > 0 && options_.max_sequence_length > 0, "a model needs room for at least one token");
    configure(checkpoint, outliers);
    choose_recompute();
    layout(arena_);
    if (plan_only) return;
    arena_.commit();
    layout(arena_);
    input_.emplace(most_integers());
    load(checkpoint, outliers);
    if (options_.adapters) initialise_adapters();
}

template <class Device>
void Model<Device>::configure(const ModelFiles& checkpoint, const OutlierChannels& outliers) {
    const std::vector<LinearSpec> specs = linear_specs(config_);
    const std::vector<DType> stored =
        options_.method == Method::fp ? stored_types(checkpoint) : std::vector<DType>(specs.size(), DType::f32);
    blocks_.resize(config_.num_hidden_layers);
    for (int64_t layer = 0; layer < config_.num_hidden_layers; layer++) {
        std::vector<std::vector<int32_t>> channels(specs.size());
        for (size_t k = 0; k < specs.size() && options_.method == Method::quaff; k++) {
            const auto found = outliers.channels.find(concat("model.layers.", layer, ".", specs[k].module));
            if (found != outliers.channels.end()) channels[k] = found->second;
            for (int32_t channel : channels[k])
                require(channel >= 0 && channel < specs[k].in_features, "outlier channel ", channel, " of ",
                        specs[k].module, " in layer ", layer, " is outside 0 .. ", specs[k].in_features - 1,
                        "; the outlier file belongs to another model");
        }
        blocks_[layer].configure(config_, layer, options_.method, channels, stored);
    }
    if (!options_.adapters) return;
    require_known_targets(options_.lora.target_modules, config_);
    for (Block<Device>& block : blocks_) {
        for (int k = 0; k < kLayersPerBlock; k++) {
            int64_t out_begin = 0;
            for (const LinearPart& part : specs[k].parts) {
                const std::string module =
                    block.linears[k].module.substr(0, block.linears[k].module.size() - specs[k].module.size()) +
                    part.module;
                if (options_.lora.targets(module))
                    block.linears[k].adapters.push_back(
                        {module, out_begin, {}, {nullptr, part.out_features, options_.lora.r}, {}, {}});
                out_begin += part.out_features;
            }
        }
    }
}

// `automatic`: as few recomputed blocks as keep the plan under the limit.
template <class Device>
void Model<Device>::choose_recompute() {
    const int64_t all = options_.training ? config_.num_hidden_layers : 0;
    n_recomputed_ = options_.recompute == Recompute::block ? all : 0;
    if (options_.recompute != Recompute::automatic || options_.memory_limit <= 0) return;
    for (; n_recomputed_ < all; n_recomputed_++) {
        Arena<Device> trial(device_);
        layout(trial);
        if (trial.plan().total() <= options_.memory_limit) return;
    }
}

template <class Device>
void Model<Device>::layout(Arena<Device>& arena) {
    for (Block<Device>& block : blocks_) block.layout_weights(arena, device_);
    final_norm_ = arena.template vector<T>(MemoryKind::weights, "model.norm", config_.hidden_size);
    const bool tied = config_.tie_word_embeddings;
    embedding_.layout(arena, MemoryKind::embeddings, "model.embed_tokens", config_.vocab_size, config_.hidden_size,
                      embedding_type_);
    if (tied)
        head_ = embedding_;
    else
        head_.layout(arena, MemoryKind::embeddings, "lm_head", config_.vocab_size, config_.hidden_size, head_type_);
    cos_ = arena.template matrix<float>(MemoryKind::weights, "rope.cos", rope_.rows(), rope_.columns());
    sin_ = arena.template matrix<float>(MemoryKind::weights, "rope.sin", rope_.rows(), rope_.columns());
    if (options_.adapters) layout_adapters(arena);
    layout_activations(arena);
}

// The parameters lie in one flat buffer, block by block, linear by linear: the stacked A, then each adapter's B. Their
// gradients and moments lie in the same order, so that the optimiser is one pass over four arrays.
template <class Device>
void Model<Device>::layout_adapters(Arena<Device>& arena) {
    const int64_t r = options_.lora.r;
    // Rounded copies begin at multiples of 16 bytes, which is what fast products of 16-bit matrices want.
    const auto room = [](int64_t rows, int64_t cols) {
        constexpr int64_t kMultiple = std::is_same_v<T, float> ? 1 : 8;
        return round_up(rows * cols, kMultiple);
    };
    int64_t size = 0;
    for (Block<Device>& block : blocks_) {
        for (QuantizedLinear<Device>& linear : block.linears) {
            size += room(r * static_cast<int64_t>(linear.adapters.size()), linear.in_features);
            for (const LoraAdapter& adapter : linear.adapters) size += room(adapter.b.rows, r);
        }
    }
    parameters_ = arena.template vector<float>(MemoryKind::adapters, "parameters", size);
    gradients_ = arena.template vector<float>(MemoryKind::adapters, "gradients", options_.training ? size : 0);
    if constexpr (std::is_same_v<T, float>)
        compute_parameters_ = parameters_;
    else
        compute_parameters_ = arena.template vector<T>(MemoryKind::adapters, "rounded parameters", size);
    adam_m_ = arena.template vector<float>(MemoryKind::optimizer, "adam m", options_.training ? size : 0);
    adam_v_ = arena.template vector<float>(MemoryKind::optimizer, "adam v", options_.training ? size : 0);

    int64_t next = 0;
    const auto take = [&](Matrix<float>& value, Matrix<float>& gradient, Matrix<T>& compute, int64_t rows,
                          int64_t cols) {
        value = {parameters_.empty() ? nullptr : parameters_.data() + next, rows, cols};
        gradient = {gradients_.empty() ? nullptr : gradients_.data() + next, rows, cols};
        compute = {compute_parameters_.empty() ? nullptr : compute_parameters_.data() + next, rows, cols};
        next += room(rows, cols);
    };
    std::vector<int64_t> begins;
    for (Block<Device>& block : blocks_) {
        begins.push_back(next);
        for (QuantizedLinear<Device>& linear : block.linears) {
            take(linear.lora_a, linear.lora_da, linear.compute_a, r * static_cast<int64_t>(linear.adapters.size()),
                 linear.in_features);
            linear.compute_b.resize(linear.adapters.size());
            int64_t row = 0;
            for (size_t p = 0; p < linear.adapters.size(); p++) {
                LoraAdapter& adapter = linear.adapters[p];
                adapter.a = linear.lora_a.rows_at(row, r);
                adapter.da = linear.lora_da.rows_at(row, r);
                take(adapter.b, adapter.db, linear.compute_b[p], adapter.b.rows, r);
                row += r;
            }
        }
    }
    // From the top: as many blocks as it takes to keep the network busy.
    buckets_.clear();
    int64_t end = next;
    for (size_t block = blocks_.size(); block-- > 0;) {
        if (end - begins[block] < options_.bucket_size && block > 0) continue;
        buckets_.push_back({block, begins[block], end - begins[block]});
        end = begins[block];
    }
}

template <class Device>
void Model<Device>::layout_activations(Arena<Device>& arena) {
    const int64_t n = options_.max_tokens, width = config_.hidden_size;
    const bool training = options_.training;
    const int64_t n_sets = training ? config_.num_hidden_layers : 1;
    const int64_t n_shared = training ? n_recomputed_ : 1;  // sets that share all but their input
    activations_.assign(n_sets, {});

    BlockActivations<Device> shared;
    if (n_shared > 0) blocks_[0].layout_activations(arena, shared, "recomputed block", n);
    for (int64_t layer = 0; layer < n_sets; layer++) {
        const std::string owner = concat("block ", layer);
        if (layer < n_shared)
            activations_[layer] = shared;
        else
            blocks_[layer].layout_activations(arena, activations_[layer], owner, n);
        blocks_[layer].layout_input(arena, activations_[layer], owner, n);
    }

    LinearWorkspaceSizes sizes;
    sizes.widened = head_.workspace(device_, config_.vocab_size, config_.hidden_size, head_type_);
    for (const Block<Device>& block : blocks_)
        for (const QuantizedLinear<Device>& linear : block.linears)
            linear.size_workspace(device_, sizes, n, training, options_.lora.dropout, options_.grad_bits);
    blocks_[0].layout_workspace(arena, device_, workspace_, n, training);
    workspace_.linear.layout(arena, sizes);
    dresidual_ = arena.template matrix<T>(MemoryKind::workspace, "dresidual", training ? n : 0, width);
    norm_sums_ = arena.template vector<double>(MemoryKind::workspace, "norm sums",
                                               training ? global_norm_workspace(device_) : 0);

    const int64_t labelled = options_.max_labelled;
    integers_ = arena.template vector<int32_t>(MemoryKind::activations, "ids, positions, labels", most_integers());
    head_residual_ = arena.template matrix<T>(MemoryKind::activations, "head.residual", labelled, width);
    head_delta_ = arena.template matrix<T>(MemoryKind::activations, "head.delta", labelled, width);
    head_normed_ = arena.template matrix<T>(MemoryKind::activations, "head.normed", labelled, width);
    head_rstd_ = arena.template vector<float>(MemoryKind::activations, "head.rstd", labelled);
    logits_ = arena.template matrix<T>(MemoryKind::workspace, "logits", head_chunk_rows(config_.vocab_size, labelled),
                                       config_.vocab_size);
    losses_ = arena.template vector<float>(MemoryKind::activations, "losses", labelled);
    correct_ = arena.template vector<uint8_t>(MemoryKind::activations, "correct", labelled);
}

template <class Device>
void Model<Device>::load(const ModelFiles& checkpoint, const OutlierChannels& outliers) {
    const auto read = [&](const std::string& name, Matrix<T> matrix) {
        fill_from_host(device_, matrix, [&](Matrix<float> host) { checkpoint.read(name, host); });
    };
    fill_from_host(device_, cos_, [&](Matrix<float> cos) {
        fill_from_host(device_, sin_, [&](Matrix<float> sin) { rope_.fill(cos, sin); });
    });
    embedding_.load(device_, checkpoint, kEmbedding);
    if (!config_.tie_word_embeddings) head_.load(device_, checkpoint, kHead);
    read("model.norm.weight", {final_norm_.data(), 1, config_.hidden_size});

    std::vector<float> staging;
    for (int64_t layer = 0; layer < config_.num_hidden_layers; layer++) {
        blocks_[layer].load(device_, checkpoint, layer, staging);
        for (QuantizedLinear<Device>& linear : blocks_[layer].linears) {
            const auto maxima = outliers.max_abs.find(linear.module);
            if (!linear.channels.empty() && maxima != outliers.max_abs.end())
                linear.start_scales(device_, maxima->second);
        }
    }
}

// As PEFT starts: A uniform in +-1/sqrt(I) (Kaiming with a = sqrt(5)), B zero, so that the model starts as it was.
template <class Device>
void Model<Device>::initialise_adapters() {
    constexpr uint32_t kStream = 0x61646170;  // "adap": apart from the counters of dropout
    for (Block<Device>& block : blocks_) {
        for (QuantizedLinear<Device>& linear : block.linears) {
            const float bound = 1.0f / std::sqrt(static_cast<float>(linear.in_features));
            const PhiloxKey key{static_cast<uint32_t>(options_.seed), static_cast<uint32_t>(options_.seed >> 32)};
            fill_from_host(device_, linear.lora_a, [&](Matrix<float> a) {
                for (int64_t i = 0; i < a.size(); i++) {
                    const PhiloxWords words = philox4x32_10(
                        {static_cast<uint32_t>(i), static_cast<uint32_t>(i >> 32), linear.id, kStream}, key);
                    const float uniform = static_cast<float>(words.x0 >> 8) * 0x1p-24f;  // [0, 1)
                    a.data[i] = bound * (2 * uniform - 1);
                }
            });
        }
    }
    round_parameters();
}

}  // namespace quaff
