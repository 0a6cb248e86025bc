#include "quaff/run/adapter_of_model.h"

#include <algorithm>

#include "llmc/core/error.h"
#include "quaff/files/quaff_json.h"
#include "quaff/model/devices.h"

namespace quaff {
namespace {

namespace fs = std::filesystem;

// The model's adapters as views of `parameters`, a copy of all of them in host memory.
template <class Device>
std::vector<LoraAdapter> host_adapters(Model<Device>& model, std::vector<float>& parameters) {
    std::vector<LoraAdapter> adapters = model.adapters();
    for (LoraAdapter& adapter : adapters)
        for (Matrix<float>* matrix : {&adapter.a, &adapter.b})
            matrix->data = parameters.data() + (matrix->data - model.parameters().data());
    return adapters;
}

}  // namespace

template <class Device>
void load_adapter(Model<Device>& model, const Adapter& adapter) {
    std::vector<float> parameters(model.parameters().size());
    for (const LoraAdapter& mine : host_adapters(model, parameters)) {
        const LoraTensor* saved = adapter.find(mine.module);
        require(saved != nullptr, "the adapter has no tensors for ", mine.module);
        require(saved->a.rows == mine.a.rows && saved->b.cols == mine.b.cols, "the adapter's rank of ", mine.module,
                " is ", saved->a.rows, ", but the model was built for ", mine.a.rows);
        for (int64_t i = 0; i < mine.a.rows; ++i) std::copy_n(saved->a.row(i), mine.a.cols, mine.a.row(i));
        for (int64_t i = 0; i < mine.b.rows; ++i) std::copy_n(saved->b.row(i), mine.b.cols, mine.b.row(i));
    }
    model.write(model.parameters(), parameters);
}

template <class Device>
void load_scales(Model<Device>& model, const std::map<std::string, std::vector<float>>& saved) {
    std::vector<LayerScales> scales = model.scales();
    for (LayerScales& layer : scales) {
        const auto found = saved.find(layer.module);
        if (found == saved.end() || found->second.size() != layer.s.size()) continue;
        layer.s = found->second;
        layer.initialised = true;
    }
    model.set_scales(scales);
}

template <class Device>
void save_adapter(const fs::path& folder, Model<Device>& model, const StartingPoint& start, const Options& options) {
    const LoraOptions& lora = model.options().lora;
    LoraConfig config;
    config.r = lora.r;
    config.lora_alpha = static_cast<double>(lora.alpha);
    config.lora_dropout = options.lora.dropout;  // as it was written: 0.1f is no 0.1
    config.use_rslora = lora.rslora;
    config.base_model = options.model.folder;
    std::vector<LoraTensor> tensors;
    std::vector<float> parameters;
    const auto adapters = [&] {
        if constexpr (std::is_same_v<Device, cpu::Device>) return model.adapters();  // they are in host memory
        parameters = model.read(model.parameters());
        return host_adapters(model, parameters);
    };
    for (const LoraAdapter& adapter : adapters()) tensors.push_back({adapter.module, adapter.a, adapter.b});
    write_adapter(folder, config, tensors);

    QuaffState state;
    state.method = name_of(start.method);
    state.scale_momentum = start.scale_momentum;
    state.grad_bits = start.grad_bits;
    if (start.method == Method::quaff) {
        state.outliers = start.outliers;
        // All of them or, before the first training step of channels without maxima, none.
        for (const LayerScales& layer : model.scales()) {
            if (layer.initialised || layer.s.empty()) {
                state.scales[layer.module] = layer.s;
            } else {
                state.scales.clear();
                break;
            }
        }
    }
    write_quaff_state(folder, state);
}

#define INSTANTIATE(Device)                                                                      \
    template void load_adapter(Model<Device>&, const Adapter&);                                  \
    template void load_scales(Model<Device>&, const std::map<std::string, std::vector<float>>&); \
    template void save_adapter(const fs::path&, Model<Device>&, const StartingPoint&, const Options&);
QUAFF_FOR_EACH_DEVICE(INSTANTIATE)

}  // namespace quaff
