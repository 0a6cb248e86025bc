// How a training run looks at its linears' inputs, and gives them other outlier channels: two functions of Model,
// included by model_definitions.h.
#pragma once

#include <algorithm>

#include "quaff/model/linears_of.h"
#include "quaff/model/model.h"

namespace quaff {

template <class Device>
void Model<Device>::set_channels(size_t index, const std::vector<int32_t>& channels, const std::vector<float>& max_abs,
                                 const ModelFiles& checkpoint) {
    QuantizedLinear<Device>& linear = blocks_[index / kLayersPerBlock].linears[index % kLayersPerBlock];
    OutlierChannelWeight<Device>* weight = linear.weight.with_channels();
    const std::vector<int32_t> before = weight ? weight->channels() : std::vector<int32_t>();
    require(channels.size() == before.size() && channels.size() == max_abs.size(), linear.shape.module,
            " has room for ", before.size(), " outlier channels, not for ", channels.size());
    if (before.empty()) return;
    MomentumScales<Device>* scales = linear.weight.scales();
    const std::vector<float> s_before = scales ? read(scales->s) : std::vector<float>();
    const bool initialised = scales && scales->initialised;
    weight->replace({channels, max_abs});
    const JointLinear joint = all_joint_linears(config_)[index];
    std::vector<float> staging;
    int64_t out_begin = 0;
    for (const LinearPart& part : joint.parts) {
        staging.resize(static_cast<size_t>(part.out_features * joint.in_features));
        const Matrix<float> w(staging.data(), part.out_features, joint.in_features);
        checkpoint.read(part.name + ".weight", w);
        weight->load_outlier_rows(device_, out_begin, w);
        out_begin += part.out_features;
    }
    if (!scales) return;
    std::vector<float> s = read(scales->s);
    for (size_t j = 0; j < s.size(); j++) {
        const auto kept = std::ranges::lower_bound(before, channels[j]);
        if (kept != before.end() && *kept == channels[j]) s[j] = s_before[static_cast<size_t>(kept - before.begin())];
    }
    set_values(device_, scales->s, s);
    scales->initialised = initialised;
}

template <class Device>
void Model<Device>::track(std::span<OutlierTracker> trackers) {
    for (QuantizedLinear<Device>& linear : linears_of(blocks_)) linear.tracker = &trackers[linear.id];
}

}  // namespace quaff
