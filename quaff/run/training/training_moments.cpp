#include "quaff/run/training/training_moments.h"

#include <span>
#include <string>
#include <vector>

#include "llmc/core/error.h"
#include "llmc/io/safetensors.h"
#include "quaff/model/devices.h"

namespace quaff {
namespace {

namespace fs = std::filesystem;

constexpr const char* kMoments = "state.safetensors";

// Names of moments in state.safetensors: "m.model.layers.0.self_attn.q_proj.lora_A".
struct NamedMoment {
    std::string name;
    std::span<float> values;  // in device memory
};

// m and v are laid out like the parameters: an adapter's matrix has the same offset in all three.
template <class Device>
std::vector<NamedMoment> named_moments(Model<Device>& model) {
    std::vector<NamedMoment> moments;
    const float* parameters = model.parameters().data();
    for (const LoraAdapter& adapter : model.adapters()) {
        for (const auto& [suffix, matrix] : {std::pair(".lora_A", adapter.a), std::pair(".lora_B", adapter.b)}) {
            const auto begin = static_cast<size_t>(matrix.data - parameters);
            const auto size = static_cast<size_t>(matrix.size());
            moments.push_back({"m." + adapter.module + suffix, model.adam_m().subspan(begin, size)});
            moments.push_back({"v." + adapter.module + suffix, model.adam_v().subspan(begin, size)});
        }
    }
    return moments;
}

}  // namespace

template <class Device>
void write_moments(const fs::path& folder, Model<Device>& model) {
    const std::vector<NamedMoment> moments = named_moments(model);
    const std::vector<LayerScales> scales = model.scales();
    std::vector<TensorSpec> specs;
    for (const NamedMoment& moment : moments)
        specs.push_back({moment.name, "F32", {static_cast<int64_t>(moment.values.size())}});
    for (const LayerScales& layer : scales)
        if (layer.initialised) specs.push_back({"s." + layer.module, "F32", {static_cast<int64_t>(layer.s.size())}});
    SafetensorsWriter writer(folder / kMoments, specs);
    for (const NamedMoment& moment : moments) {
        const std::vector<float> values = model.read(moment.values);
        writer.write(moment.name, std::span<const float>(values));
    }
    for (const LayerScales& layer : scales)
        if (layer.initialised) writer.write("s." + layer.module, std::span<const float>(layer.s));
    writer.finish();
}

template <class Device>
void read_moments(const fs::path& folder, Model<Device>& model) {
    const SafetensorsFile file(folder / kMoments);
    const auto read = [&](const std::string& name, size_t size) {
        std::vector<float> values(size);
        require(file.tensor(name).size() == static_cast<int64_t>(values.size()), file.path().string(), ": tensor ",
                name, " has ", file.tensor(name).size(), " values, but this model's has ", values.size());
        file.read(name, values);
        return values;
    };
    for (const NamedMoment& moment : named_moments(model))
        model.write(moment.values, read(moment.name, moment.values.size()));
    std::vector<LayerScales> scales = model.scales();
    for (LayerScales& layer : scales) {
        layer.initialised = file.contains("s." + layer.module);
        if (layer.initialised) layer.s = read("s." + layer.module, layer.s.size());
    }
    model.set_scales(scales);
}

#define INSTANTIATE(Device)                                       \
    template void write_moments(const fs::path&, Model<Device>&); \
    template void read_moments(const fs::path&, Model<Device>&);
QUAFF_FOR_EACH_DEVICE(INSTANTIATE)

}  // namespace quaff
