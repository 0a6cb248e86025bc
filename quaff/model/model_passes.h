// A Model's passes: forward, backward, step, and generation. Included where Model is instantiated.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>

#include "quaff/model/model.h"

namespace quaff {

template <class Device>
void Model<Device>::check(int64_t n_tokens, int64_t longest) const {
    require(n_tokens > 0, "a micro-batch holds no token");
    require(n_tokens <= options_.max_tokens && longest <= options_.max_sequence_length, "a micro-batch of ", n_tokens,
            " tokens with a sequence of ", longest, " does not fit the memory planned for ", options_.max_tokens,
            " tokens and sequences of ", options_.max_sequence_length);
}

template <class Device>
void Model<Device>::begin(const Batch& batch, Mode mode, int64_t total_length) {
    check(batch.n_tokens(), batch.max_sequence_length());
    require(batch.n_labelled() <= options_.max_labelled, "a micro-batch with ", batch.n_labelled(),
            " labelled tokens does not fit the memory planned for ", options_.max_labelled);
    for (const auto* ids : {&batch.input_ids, &batch.label_ids})
        for (int32_t id : *ids)
            require(id >= 0 && id < config_.vocab_size, "token id ", id, " is outside the vocabulary of ",
                    config_.vocab_size);

    n_tokens_ = batch.n_tokens();
    n_labelled_ = batch.n_labelled();
    max_length_ = batch.max_sequence_length();

    // One after the other into the staging buffer, and from there to the same places of integers_.
    const std::span<int32_t> staging = input_->next();
    const size_t integers = 2 * batch.input_ids.size() + batch.cu_seqlens.size() + 2 * batch.label_rows.size();
    require(integers <= staging.size(), "a micro-batch of ", batch.cu_seqlens.size(),
            " sequences does not fit the memory planned for ", options_.max_tokens, " tokens");
    size_t used = 0;
    const auto place = [&](size_t count) {
        used += count;
        return used - count;
    };
    const auto send = [&](const std::vector<int32_t>& values) {
        const size_t at = place(values.size());
        std::ranges::copy(values, staging.begin() + static_cast<int64_t>(at));
        return integers_.subspan(at, values.size());
    };
    ids_ = send(batch.input_ids);
    cu_seqlens_ = send(batch.cu_seqlens);
    label_rows_ = send(batch.label_rows);
    label_ids_ = send(batch.label_ids);
    const size_t at = place(batch.input_ids.size());
    for (size_t s = 0; s + 1 < batch.cu_seqlens.size(); s++) {
        const int32_t begin = batch.cu_seqlens[s], end = batch.cu_seqlens[s + 1];
        for (int32_t n = begin; n < end; n++)
            staging[at + n] = rope_.row(batch.positions[n], total_length > 0 ? total_length : end - begin);
    }
    rope_rows_ = integers_.subspan(at, batch.input_ids.size());
    input_->send(device_, integers_.first(used));

    pass_ = {
        mode, options_.lora.scale(), options_.lora.dropout, options_.scale_momentum, options_.grad_bits, options_.seed,
        0};
}

template <class Device>
std::pair<Matrix<typename Device::compute_t>, Matrix<typename Device::compute_t>> Model<Device>::run_blocks(
    std::vector<KeyValueCache<Device>>* caches) {
    const int64_t n = n_tokens_;
    Matrix<T> x = activations_[0].residual_attention.first_rows(n), delta;
    embedding_.look_up(device_, x, ids_);
    for (size_t layer = 0; layer < blocks_.size(); layer++) {
        BlockActivations<Device>& saved = activations_[options_.training ? layer : 0];
        blocks_[layer].forward(device_, x, delta, sequences(), saved, pass_, workspace_,
                               caches ? &(*caches)[layer] : nullptr);
        x = saved.residual_mlp.first_rows(n);
        delta = workspace_.branch.first_rows(n);
    }
    return {x, delta};
}

// The losses of the labelled rows; with grad_scale != 0 also the gradient of the residual stream at them, in
// head_delta_.
template <class Device>
void Model<Device>::run_head(const Batch& batch, Matrix<const T> x, Matrix<const T> delta, float grad_scale) {
    const int64_t labelled = batch.n_labelled();
    const Matrix<T> residual = head_residual_.first_rows(labelled), addend = head_delta_.first_rows(labelled);
    const Matrix<T> normed = head_normed_.first_rows(labelled);
    gather_rows<T>(device_, residual, x, label_rows_);
    gather_rows<T>(device_, addend, delta, label_rows_);
    const float eps = static_cast<float>(config_.rms_norm_eps);
    rmsnorm_forward<T>(device_, normed, residual, head_rstd_.data(), residual, addend, final_norm_.data(), eps);

    for (int64_t begin = 0; begin < labelled; begin += logits_.rows) {
        const int64_t count = std::min(logits_.rows, labelled - begin);
        const Matrix<T> logits = logits_.first_rows(count), h = normed.rows_at(begin, count);
        const std::span<const int32_t> labels = label_ids_.subspan(begin, count);
        head_.multiply(device_, logits, h, 0, workspace_.linear.widened);
        if (grad_scale == 0) {
            cross_entropy_forward<T>(device_, losses_.data() + begin, correct_.data() + begin, logits, labels);
        } else {
            cross_entropy_forward_backward<T>(device_, losses_.data() + begin, correct_.data() + begin, logits, labels,
                                              grad_scale);
            // h has been used: its gradient takes its place.
            head_.multiply_back(device_, h, logits, workspace_.linear.widened);
        }
    }
    if (grad_scale != 0) {
        set_zero<T>(device_, addend);
        rmsnorm_backward<T>(device_, addend, normed, residual, head_rstd_.data(), final_norm_.data());
    }
}

template <class Device>
LossSums Model<Device>::losses() {
    LossSums sums;
    sums.labelled = n_labelled_;
    const auto on_host = [&]<class V>(std::span<V> values, std::vector<V>& staging) {
        const Matrix<const V> row = host_view(device_, Matrix<V>(values.data(), 1, n_labelled_), staging);
        return std::span<const V>(row.data, static_cast<size_t>(n_labelled_));
    };
    sums.losses = on_host(losses_, host_losses_);
    sums.correct_rows = on_host(correct_, host_correct_);
    for (int64_t i = 0; i < n_labelled_; i++) {
        sums.loss += sums.losses[i];
        sums.correct += sums.correct_rows[i];
    }
    return sums;
}

template <class Device>
void Model<Device>::forward(const Batch& batch, float grad_scale, uint64_t micro_batch) {
    require(options_.training && options_.adapters,
            "this model was built for evaluation only (BuildOptions::training)");
    begin(batch, Mode::train);
    pass_.micro_batch = micro_batch;
    const auto [x, delta] = run_blocks();
    run_head(batch, x, delta, grad_scale);
}

template <class Device>
void Model<Device>::backward(const Batch& batch, bool last) {
    const int64_t n = batch.n_tokens();
    require(pass_.mode != Mode::evaluate && n == n_tokens_, "backward() needs the batch of the last forward()");
    const Matrix<T> dresidual = dresidual_.first_rows(n);
    scatter_rows<T>(device_, dresidual, head_delta_.first_rows(batch.n_labelled()), label_rows_);

    // Layers below the lowest adapter are not visited.
    size_t lowest = 0;
    const auto has_adapter = [](const Block<Device>& block) {
        return std::ranges::any_of(block.linears, [](const auto& linear) { return linear.rank() > 0; });
    };
    while (lowest < blocks_.size() && !has_adapter(blocks_[lowest])) lowest++;

    for (size_t layer = blocks_.size(); layer-- > lowest;) {
        BlockActivations<Device>& saved = activations_[layer];
        if (static_cast<int64_t>(layer) < n_recomputed_) {
            PassInfo again = pass_;
            again.mode = Mode::recompute;
            const Matrix<T> x = saved.residual_attention.first_rows(n);
            blocks_[layer].forward(device_, x, {}, sequences(), saved, again, workspace_);
        }
        blocks_[layer].backward(device_, dresidual, sequences(), saved, pass_, workspace_, layer > lowest);
        if (last) start_sums(layer);
    }
}

template <class Device>
void Model<Device>::follow() {
    for (Block<Device>& block : blocks_)
        for (QuantizedLinear<Device>& linear : block.linears)
            linear.follow_scales(device_, options_.scale_momentum, workspace_.linear);
}

template <class Device>
void Model<Device>::start_sums(size_t block) {
    for (; sums_started_ < buckets_.size() && buckets_[sums_started_].first_block >= block; ++sums_started_) {
        const GradientBucket& bucket = buckets_[sums_started_];
        comm().start_sum(gradients_.subspan(static_cast<size_t>(bucket.begin), static_cast<size_t>(bucket.size)));
    }
}

template <class Device>
void Model<Device>::sum_gradients() {
    start_sums(0);
    comm().finish_sums();
    sums_started_ = 0;
}

template <class Device>
LossSums Model<Device>::evaluate(const Batch& batch) {
    begin(batch, Mode::evaluate);
    const auto [x, delta] = run_blocks();
    run_head(batch, x, delta, 0);
    return losses();
}

template <class Device>
void Model<Device>::rehearse(const Batch& batch) {
    begin(batch, Mode::recompute);
    const auto [x, delta] = run_blocks();
    run_head(batch, x, delta, 1);
    backward(batch);
    zero_gradients();
    // The last chunk of labelled rows may be of any length: one of each three leading bits.
    for (int64_t rows = 1; rows <= logits_.rows; rows += std::max<int64_t>(1, std::bit_floor<uint64_t>(rows) / 4)) {
        const Matrix<T> logits = logits_.first_rows(rows), h = head_normed_.first_rows(rows);
        head_.multiply(device_, logits, h, 0, workspace_.linear.widened);
        head_.multiply_back(device_, h, logits, workspace_.linear.widened);
    }
}

template <class Device>
std::vector<float> Model<Device>::logits(const Batch& batch) {
    begin(batch, Mode::evaluate);
    const auto [x, delta] = run_blocks();
    const int64_t n = batch.n_tokens(), at_once = std::min(logits_.rows, head_residual_.rows);
    require(at_once > 0, "a model that is planned for no labelled token has no head to make logits with");
    std::vector<float> out, staging;
    for (int64_t begin = 0; begin < n; begin += at_once) {
        const int64_t rows = std::min(at_once, n - begin);
        const Matrix<T> h = head_normed_.first_rows(rows), chunk = logits_.first_rows(rows);
        rmsnorm_forward<T>(device_, h, head_residual_.first_rows(rows), head_rstd_.data(), x.rows_at(begin, rows),
                           delta.rows_at(begin, rows), final_norm_.data(), static_cast<float>(config_.rms_norm_eps));
        head_.multiply(device_, chunk, h, 0, workspace_.linear.widened);
        const Matrix<const float> made = host_view(device_, chunk, staging);
        out.insert(out.end(), made.data, made.data + made.size());
    }
    return out;
}

template <class Device>
void Model<Device>::zero_gradients() {
    set_zero<float>(device_, {gradients_.data(), 1, static_cast<int64_t>(gradients_.size())});
}

template <class Device>
double Model<Device>::gradient_norm() const {
    return global_norm<float>(device_, gradients_, norm_sums_);
}

template <class Device>
void Model<Device>::step(const AdamWOptions& adamw, int64_t step, float grad_scale) {
    adamw_step<float>(device_, parameters_, gradients_, adam_m_, adam_v_, adamw, step, grad_scale);
    round_parameters();
}

template <class Device>
void Model<Device>::round_parameters() {
    if constexpr (!std::is_same_v<T, float>) {
        const auto size = static_cast<int64_t>(parameters_.size());
        copy<T>(device_, Matrix<T>(compute_parameters_.data(), 1, size),
                Matrix<const float>(parameters_.data(), 1, size));
    }
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
    round_parameters();
}

template <class Device>
std::vector<LoraAdapter> Model<Device>::adapters() const {
    std::vector<LoraAdapter> all;
    for (const Block<Device>& block : blocks_)
        for (const QuantizedLinear<Device>& linear : block.linears)
            all.insert(all.end(), linear.adapters.begin(), linear.adapters.end());
    return all;
}

template <class Device>
std::vector<LayerScales> Model<Device>::scales() const {
    std::vector<LayerScales> all;
    for (const Block<Device>& block : blocks_)
        for (const QuantizedLinear<Device>& linear : block.linears)
            all.push_back({linear.module, read(linear.s), linear.scales_initialised});
    return all;
}

template <class Device>
void Model<Device>::set_scales(const std::vector<LayerScales>& scales) {
    auto layer = scales.begin();
    for (Block<Device>& block : blocks_) {
        for (QuantizedLinear<Device>& linear : block.linears) {
            require(layer != scales.end() && layer->module == linear.module && layer->s.size() == linear.s.size(),
                    "the scales of ", linear.module, " are not those of this model");
            set_values(device_, linear.s, layer->s);
            linear.scales_initialised = layer->initialised;
            ++layer;
        }
    }
}

template <class Device>
void Model<Device>::keep_scales() {
    for (Block<Device>& block : blocks_)
        for (QuantizedLinear<Device>& linear : block.linears) linear.keep_scales(device_);
}

template <class Device>
void Model<Device>::restore_scales() {
    for (Block<Device>& block : blocks_)
        for (QuantizedLinear<Device>& linear : block.linears) linear.restore_scales(device_);
}

// Whether a matrix in device memory holds numbers alone.
template <class Device, class V>
bool is_finite(const Device& device, Matrix<V> matrix, std::vector<float>& staging) {
    const Matrix<const float> host = host_view(device, matrix, staging);
    return std::all_of(host.data, host.data + host.size(), [](float value) { return std::isfinite(value); });
}

template <class Device>
std::string Model<Device>::find_nonfinite_state() {
    std::vector<float> staging;
    for (const LayerScales& layer : scales())
        if (!std::ranges::all_of(layer.s, [](float value) { return std::isfinite(value); }))
            return "scale of " + layer.module;
    for (const LoraAdapter& adapter : adapters()) {
        for (const auto& [name, matrix] : {std::pair("lora_A of ", adapter.a), std::pair("lora_B of ", adapter.b)}) {
            if (!is_finite(device_, matrix, staging)) return name + adapter.module;
            if (!options_.training) continue;
            const auto offset = matrix.data - parameters_.data();  // m and v lie like the parameters
            for (const auto& [moment, values] : {std::pair("first", adam_m_), std::pair("second", adam_v_)})
                if (!is_finite(device_, Matrix<float>(values.data() + offset, 1, matrix.size()), staging))
                    return concat(moment, " moment of ", name, adapter.module);
        }
    }
    return "";
}

template <class Device>
std::string Model<Device>::find_nonfinite() {
    if (const std::string where = find_nonfinite_state(); !where.empty()) return where;
    if (!options_.training) return "";

    std::vector<float> staging;
    // The inputs of the blocks are kept whatever is recomputed: the first bad one tells which block made it.
    for (size_t layer = 0; layer < blocks_.size(); layer++) {
        if (is_finite(device_, activations_[layer].residual_attention.first_rows(n_tokens_), staging)) continue;
        return layer == 0 ? "embedding of the micro-batch" : concat("output of model.layers.", layer - 1);
    }
    if (pass_.mode == Mode::train && !is_finite(device_, workspace_.branch.first_rows(n_tokens_), staging))
        return concat("output of model.layers.", blocks_.size() - 1);

    for (const LoraAdapter& adapter : adapters()) {
        if (!is_finite(device_, adapter.da, staging)) return "gradient of lora_A of " + adapter.module;
        if (!is_finite(device_, adapter.db, staging)) return "gradient of lora_B of " + adapter.module;
    }
    return "";
}

template <class Device>
Generator<Device>::Generator(Model<Device>& model, int64_t max_length)
    : model_(model), arena_(model.device_), max_length_(max_length) {
    model.check(1, max_length);
    const auto layout = [&] {
        caches_.assign(model.blocks_.size(), {});
        for (size_t layer = 0; layer < caches_.size(); layer++) {
            const int64_t width = model.blocks_[layer].key_width();
            caches_[layer].keys =
                arena_.template matrix<T>(MemoryKind::activations, concat("keys ", layer), max_length, width);
            caches_[layer].values =
                arena_.template matrix<T>(MemoryKind::activations, concat("values ", layer), max_length, width);
        }
    };
    layout();
    arena_.commit();
    layout();
}

template <class Device>
std::span<const float> Generator<Device>::prefill(std::span<const int32_t> ids) {
    for (KeyValueCache<Device>& cache : caches_) cache.length = 0;
    ids_.clear();
    return run(ids);
}

template <class Device>
std::span<const float> Generator<Device>::decode(int32_t id) {
    const int64_t length = this->length();
    if (model_.rope_.is_long(length + 1) != model_.rope_.is_long(length)) {
        // longrope: the sequence has just become a long one, and all of its keys turn by other angles.
        std::vector<int32_t> ids = ids_;
        ids.push_back(id);
        return prefill(ids);
    }
    return run({&id, 1});
}

template <class Device>
std::span<const float> Generator<Device>::run(std::span<const int32_t> ids) {
    const int64_t before = length(), n = static_cast<int64_t>(ids.size());
    require(before + n <= max_length_, "the text has reached the ", max_length_, " tokens that memory was planned for");
    Batch batch;
    batch.input_ids.assign(ids.begin(), ids.end());
    for (int64_t i = 0; i < n; i++) batch.positions.push_back(static_cast<int32_t>(before + i));
    batch.cu_seqlens = {0, static_cast<int32_t>(n)};
    batch.examples = {0};
    batch.label_rows = {static_cast<int32_t>(n - 1)};
    batch.label_ids = {0};  // only the logits are wanted
    ids_.insert(ids_.end(), ids.begin(), ids.end());
    model_.begin(batch, Mode::evaluate, length());
    const auto [x, delta] = model_.run_blocks(&caches_);

    const Matrix<T> residual = model_.head_residual_.first_rows(1), addend = model_.head_delta_.first_rows(1);
    const Matrix<T> normed = model_.head_normed_.first_rows(1), logits = model_.logits_.first_rows(1);
    gather_rows<T>(model_.device_, residual, x, model_.label_rows_);
    gather_rows<T>(model_.device_, addend, delta, model_.label_rows_);
    rmsnorm_forward<T>(model_.device_, normed, residual, model_.head_rstd_.data(), residual, addend,
                       model_.final_norm_.data(), static_cast<float>(model_.config_.rms_norm_eps));
    model_.head_.multiply(model_.device_, logits, normed, 0, model_.workspace_.linear.widened);
    const Matrix<const float> host = host_view(model_.device_, logits, host_logits_);
    return {host.data, static_cast<size_t>(host.cols)};
}

}  // namespace quaff
