#include "quaff/model/saved_adapter.h"

#include <algorithm>

#include "quaff/files/quaff_json.h"
#include "quaff/model/devices.h"

namespace quaff {

template <class Device>
void save_adapter(const std::filesystem::path& folder, Model<Device>& model, const std::string& base_model,
                  const OutlierChannels& outliers, const std::optional<ChatSettings>& chat) {
    const BuildOptions& options = model.options();
    LoraConfig config = options.lora;
    config.base_model = base_model;
    if constexpr (std::is_same_v<Device, cpu::Device>) {
        write_adapter(folder, config, model.adapters());  // they are in host memory
    } else {
        std::vector<float> parameters = model.read(model.parameters());
        write_adapter(folder, config, host_adapters(model, parameters));
    }

    QuaffState state;
    state.method = name_of(options.method);
    state.scale_momentum = options.scale_momentum;
    state.grad_bits = options.grad_bits;
    state.chat = chat;
    const LinearMethod method = options.linear();
    static_cast<MethodChoices&>(state) = method;
    if (method.outliers) state.outliers = outliers;
    if (method.has_scales()) {
        // All or none: channels without calibrated maxima have no scales before the first training step.
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

template <class Device>
void load_adapter(Model<Device>& model, const Adapter& adapter) {
    std::vector<float> parameters(model.parameters().size());
    for (const LoraAdapter& mine : host_adapters(model, parameters)) {
        const LoraAdapter* saved = adapter.find(mine.module);
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

#define INSTANTIATE(Device)                                                                      \
    template void save_adapter(const std::filesystem::path&, Model<Device>&, const std::string&, \
                               const OutlierChannels&, const std::optional<ChatSettings>&);      \
    template void load_adapter(Model<Device>&, const Adapter&);                                  \
    template void load_scales(Model<Device>&, const std::map<std::string, std::vector<float>>&);
QUAFF_FOR_EACH_DEVICE(INSTANTIATE)

}  // namespace quaff
