#include "quaff/run/speed_of_light.h"

#include <algorithm>

namespace quaff {

WorkModel::WorkModel(const ModelConfig& config, const BuildOptions& options, const OutlierChannels& outliers,
                     int64_t n_recomputed) {
    int8_ = options.method == Method::quaff;
    int8_backward_ = int8_ && options.grad_bits == 8;
    window_ = config.sliding_window;
    bool trained_below = false;  // some adapter lies under the input of this joint layer
    bool trained = false;        // or on it
    std::string joint;
    double attention_backward = 0;  // layers
    for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
        const std::string block = concat("model.layers.", layer, ".");
        for (const LinearLayer& linear : linear_layers(config)) {
            const auto in = static_cast<double>(linear.in_features), out = static_cast<double>(linear.out_features);
            const double product = 2.0 * in * out;
            if (linear.joint != joint) trained_below = trained;
            if (linear.joint != joint && linear.joint == "self_attn.o_proj" && trained_below) attention_backward++;
            joint = linear.joint;
            linear_forward_ += product;
            if (trained_below) linear_backward_ += product;
            if (layer < n_recomputed) linear_recomputed_ += product;
            if (options.adapters && options.lora.targets(block + linear.name)) {
                skinny_ += 6.0 * options.lora.r * (in + out);
                trained = true;
            }
            const auto channels = outliers.channels.find(block + linear.joint);
            if (int8_ && channels != outliers.channels.end())
                skinny_ += 2.0 * static_cast<double>(channels->second.size()) * out;
        }
    }
    const auto forward_pair = 4.0 * static_cast<double>(config.q_size());
    per_pair_ =
        (static_cast<double>(config.num_hidden_layers + n_recomputed) + 2.5 * attention_backward) * forward_pair;
    per_label_ = 4.0 * static_cast<double>(config.vocab_size) * static_cast<double>(config.hidden_size);
}

Work WorkModel::of(const Batch& batch) const {
    const auto tokens = static_cast<double>(batch.n_tokens());
    double pairs = 0;
    for (size_t s = 0; s + 1 < batch.cu_seqlens.size(); ++s) {
        const int64_t length = batch.cu_seqlens[s + 1] - batch.cu_seqlens[s];
        const int64_t seen = window_ > 0 ? std::min(window_, length) : length;
        // Token i sees min(i, window) tokens: a triangle, then a band.
        pairs += 0.5 * static_cast<double>(seen) * static_cast<double>(seen + 1) +
                 static_cast<double>(length - seen) * static_cast<double>(seen);
    }
    const double forward = tokens * (linear_forward_ + linear_recomputed_);
    const double backward = tokens * linear_backward_;
    Work work;
    work.int8_operations = (int8_ ? forward : 0) + (int8_backward_ ? backward : 0);
    work.float_operations = (int8_ ? 0 : forward) + (int8_backward_ ? 0 : backward) + tokens * skinny_ +
                            pairs * per_pair_ + static_cast<double>(batch.n_labelled()) * per_label_;
    return work;
}

}  // namespace quaff
