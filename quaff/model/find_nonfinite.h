// Where the first NaN or infinity stands, for the message of a run that fails. Slow: every tensor is copied to the
// host.
#pragma once

#include <algorithm>
#include <cmath>

#include "quaff/model/model.h"

namespace quaff {

// Whether a matrix in device memory holds no NaN and no infinity.
template <class Device, class V>
bool is_finite(const Device& device, Matrix<V> matrix, std::vector<float>& staging) {
    const Matrix<const float> host = host_view(device, matrix, staging);
    return std::all_of(host.data, host.data + host.size(), [](float value) { return std::isfinite(value); });
}

inline std::string output_of_block(const ModelConfig& config, size_t block) {
    return "output of " + block_name(config, static_cast<int64_t>(block));
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
            const auto offset = matrix.data - parameters().data();  // m and v lie like the parameters
            for (const auto& [moment, values] : {std::pair("first", adam_m()), std::pair("second", adam_v())})
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
    const int64_t n = batch_.n_tokens();
    // The blocks' inputs are kept even where the rest is recomputed. The first bad one shows which block made it.
    for (size_t block = 0; block < blocks_.size(); block++) {
        if (is_finite(device_, activations_[block].around_attention.residual.first_rows(n), staging)) continue;
        return block == 0 ? "embedding of the micro-batch" : output_of_block(config_, block - 1);
    }
    if (pass_.mode == Mode::train && !is_finite(device_, workspace_.branch.first_rows(n), staging))
        return output_of_block(config_, blocks_.size() - 1);

    for (const LoraAdapter& adapter : adapters()) {
        if (!is_finite(device_, adapter.da, staging)) return "gradient of lora_A of " + adapter.module;
        if (!is_finite(device_, adapter.db, staging)) return "gradient of lora_B of " + adapter.module;
    }
    return "";
}

template <class Device>
std::string Model<Device>::find_nonfinite(const Batch& batch) {
    if (const std::string where = find_nonfinite_state(); !where.empty()) return "the " + where;

    std::vector<float> staging;
    begin(batch, Mode::evaluate);
    Stream<Device> stream = embed();
    if (!is_finite(device_, stream.x, staging)) return "the embedding";
    for (size_t block = 0; block < blocks_.size(); block++) {
        BlockActivations<Device>& saved = activations_of(block);
        blocks_[block].forward(device_, stream, batch_.sequences(), saved, pass_, workspace_);
        // The sum may overflow although its parts do not. The next block reads the sum itself.
        const Matrix<T> sum = saved.around_mlp.residual.first_rows(batch_.n_tokens());
        add<T>(device_, sum, workspace_.branch.first_rows(batch_.n_tokens()));
        if (!is_finite(device_, sum, staging)) return "the " + output_of_block(config_, block);
        stream = {sum, {}};
    }
    const int64_t n = batch_.n_tokens(), at_once = head_.most_rows();
    for (int64_t begin = 0; begin < n && at_once > 0; begin += at_once) {
        const Stream<Device> rows = stream.rows_at(begin, std::min(at_once, n - begin));
        if (!is_finite(device_, head_.logits(device_, rows, workspace_.linear.widened), staging)) return "the logits";
    }
    return "";
}

}  // namespace quaff
