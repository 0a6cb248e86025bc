#include "quaff/run/speed_of_light.h"

#include <algorithm>

namespace quaff {

double Work::seconds_at(const Peak& peak) const {
    if (peak.int8_operations <= 0 || peak.float_operations <= 0 || peak.gradient_operations <= 0) return 0;
    return int8_operations / peak.int8_operations + float_operations / peak.float_operations +
           gradient_operations / peak.gradient_operations;
}

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
            PerPair& attention = per_pair_[config.layers.at(static_cast<size_t>(layer)).sliding_window];
            attention.forward += forward_pair * (layer < n_recomputed ? 2 : 1);
            if (trained) attention.backward += forward_pair * 2.5;
        }
        linear_forward_ += product;
        if (trained) linear_backward_ += product;
        if (layer < n_recomputed) linear_recomputed_ += product;
        for (const LinearPart& part : joint.parts) {
            if (!options.adapters || !options.lora.targets(part.name)) continue;
            const double forward =
                2.0 * static_cast<double>(options.lora.rank(part.name)) * (in + static_cast<double>(part.out_features));
            skinny_forward_ += forward;
            skinny_backward_ += 2 * forward;
            trained = true;
        }
        const auto channels = outliers.channels.find(joint.name);
        if (method.weight == WeightKind::outlier_channels && channels != outliers.channels.end())
            skinny_forward_ += 2.0 * static_cast<double>(channels->second.size()) * out;
    }
    per_label_ = 2.0 * static_cast<double>(config.vocab_size) * static_cast<double>(config.hidden_size);
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
    const double head = static_cast<double>(batch.n_labelled()) * per_label_;
    Work work;
    double& gradients = int8_backward_ ? work.gradient_operations : work.float_operations;
    work.float_operations = tokens * skinny_forward_ + head;
    gradients += tokens * skinny_backward_ + head;
    for (const auto& [window, per_pair] : per_pair_) {
        const double pairs = pairs_in(batch, window);
        work.float_operations += per_pair.forward * pairs;
        gradients += per_pair.backward * pairs;
    }
    const double forward = tokens * (linear_forward_ + linear_recomputed_);
    const double backward = tokens * linear_backward_;
    (int8_ ? work.int8_operations : work.float_operations) += forward;
    (int8_backward_ ? work.int8_operations : gradients) += backward;
    return work;
}

}  // namespace quaff
