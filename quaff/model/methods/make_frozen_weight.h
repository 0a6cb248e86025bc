// The frozen weight of a linear, by the method's name.
#pragma once

#include <memory>
#include <utility>

#include "quaff/model/methods/four_bits.h"
#include "quaff/model/methods/full_precision.h"
#include "quaff/model/methods/llm_int8.h"
#include "quaff/model/methods/outlier_channels.h"
#include "quaff/model/methods/smooth_dynamic.h"
#include "quaff/model/methods/smooth_static.h"

namespace quaff {

// outliers: none for a method that has none.
template <class Device>
std::unique_ptr<FrozenWeight<Device>> make_frozen_weight(const LinearShape& shape, const LinearMethod& method,
                                                         LayerOutliers outliers) {
    switch (method.weight) {
        case WeightKind::outlier_channels:
            return std::make_unique<OutlierChannelWeight<Device>>(shape, method, std::move(outliers));
        case WeightKind::llm_int8:
            return std::make_unique<LlmInt8Weight<Device>>(shape, method);
        case WeightKind::smooth_static:
            return std::make_unique<SmoothStaticWeight<Device>>(shape, method, std::move(outliers));
        case WeightKind::smooth_dynamic:
            return std::make_unique<SmoothDynamicWeight<Device>>(shape, method);
        case WeightKind::four_bits:
            return std::make_unique<FourBitWeight<Device>>(shape);
        case WeightKind::full_precision:
            break;
    }
    return std::make_unique<FullPrecision<Device>>(shape);
}

}  // namespace quaff
