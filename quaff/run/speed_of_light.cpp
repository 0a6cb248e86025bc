#include "quaff/run/speed_of_light.h"

#include <algorithm>

namespace quaff {

WorkModel::WorkModel(const ModelConfig& config, const BuildOptions& options, const OutlierChannels& outliers,
                     int64_t n_recomputed) {
    const LinearMethod method = options.linear();
    int8_ = method.int8;
    int8_backward_ = int8_ && options.grad_bits == 8;
    bool trained = false;  // an adapter lies below: the gradient has to pass through
    const auto forward_pair = 4.0 * static_cast<double>(config.q_size());
    const std::vector<JointLinear> linears = all_joint_linears(config);
    for (size_t i = 0; i < linears.size(); ++i) {
        const JointLinear& joint = linears[i];
        const auto in = static_cast<double>(joint.in_features), out = static_cast<double>(joint.out_features());
        const double product = 2.0 * in * out;
        const auto layer = static_cast<int64_t>(i) / (std::ssize(linears) / config.num_hidden_layers);
        if (joint.name.ends_with(".self_attn.o_proj")) {
            const double passes = 1 + (layer < n_recomputed ? 1 : 0) + (trained ? 2.5 : 0);
            per_pair_[config.layers.at(static_cast<size_t>(layer)).sliding_window] += passes * forward_pair;
        }
        linear_forward_ += product;
        if (trained) linear_backward_ += product;
        if (layer < n_recomputed) linear_recomputed_ += product;
        for (const LinearPart& part : joint.parts) {
            if (!options.adapters || !options.lora.targets(part.name)) continue;
            skinny_ +=
                6.0 * static_cast<double>(options.lora.rank(part.name)) * (in + static_cast<double>(part.out_features));
            trained = true;
        }
        const auto channels = outliers.channels.find(joint.name);
        if (method.weight == WeightKind::outlier_channels && channels != outliers.channels.end())
            skinny_ += 2.0 * static_cast<double>(channels->second.size()) * out;
    }
    per_label_ = 4.0 * static_cast<double>(config.vocab_size) * static_cast<double>(config.hidden_size);
}

// Token i of a sequence sees min(i, window) tokens: a triangle, then a band.
static double pairs_in(const Batch& batch, int64_t window) {
    double pairs = 0;
    for (size_t s = 0; s + 1 < batch.cu_seqlens.size(); ++s) {
        const int64_t length = batch.cu_seqlens[s + 1] - batch.cu_seqlens[s];
        const int64_t seen = window > 0 ? std::min(window, length) : length;
        pairs += 0.5 * static_cast<double>(seen) * static_cast<double>(seen + 1) +
                 static_cast<double>(length - seen) * static_cast<double>(seen);
    }
    return pairs;
}

Work WorkModel::of(const Batch& batch) const {
    const auto tokens = static_cast<double>(batch.n_tokens());
    double attention = 0;
    for (const auto& [window, per_pair] : per_pair_) attention += per_pair * pairs_in(batch, window);
    const double forward = tokens * (linear_forward_ + linear_recomputed_);
    const double backward = tokens * linear_backward_;
    Work work;
    work.int8_operations = (int8_ ? forward : 0) + (int8_backward_ ? backward : 0);
    work.float_operations = (int8_ ? 0 : forward) + (int8_backward_ ? 0 : backward) + tokens * skinny_ + attention +
                            static_cast<double>(batch.n_labelled()) * per_label_;
    return work;
}

}  // namespace quaff
