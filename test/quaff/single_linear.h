// One linear on the CPU, without adapters, with the memory it needs for `n_tokens` rows.
#pragma once

#include <utility>

#include "llmc/cpu/operators.h"
#include "quaff/model/quantized_linear.h"

namespace golden {

struct SingleLinear {
    cpu::Device device;
    llmc::Arena<cpu::Device> arena{device, quaff::kMemoryKinds};
    quaff::QuantizedLinear<cpu::Device> linear;
    quaff::LinearWorkspace<cpu::Device> workspace;

    SingleLinear(int64_t in, int64_t out, int64_t n_tokens, quaff::Method method, quaff::LayerOutliers outliers = {}) {
        linear.configure({.module = "layer", .in_features = in, .out_features = out}, 0, quaff::linear_method(method),
                         std::move(outliers));
        arena.build([&](llmc::Arena<cpu::Device>& from) {
            linear.layout(from, device);
            quaff::LinearWorkspaceSizes sizes;
            linear.size_workspace(device, sizes, n_tokens, /*training=*/true, 0, 8);
            workspace.layout(from, sizes);
        });
    }
};

}  // namespace golden
