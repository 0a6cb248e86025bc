// A model's adapters, in and out of the folder that PEFT reads (files/adapter.h), with quaff.json beside them
// (files/quaff_json.h), which says how the frozen layers were computed.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "quaff/files/adapter.h"
#include "quaff/files/chat_settings.h"
#include "quaff/files/outliers.h"
#include "quaff/model/model.h"

namespace quaff {

// The model's adapters with their A and B as views of `values`: a copy in host memory of its parameters, or of what
// lies like them.
template <class Device>
std::vector<LoraAdapter> host_adapters(Model<Device>& model, std::vector<float>& values) {
    std::vector<LoraAdapter> adapters = model.adapters();
    for (LoraAdapter& adapter : adapters)
        for (Matrix<float>* matrix : {&adapter.a, &adapter.b})
            matrix->data = values.data() + (matrix->data - model.parameters().data());
    return adapters;
}

// Writes the three files of an adapter into `folder`, which is created if it is missing. `base_model` is the name by
// which PEFT finds the model: its folder, or its name on the hub. `outliers` are those the model was built with, `chat`
// is how the texts were laid out that it was trained on, if that is known.
template <class Device>
void save_adapter(const std::filesystem::path& folder, Model<Device>& model, const std::string& base_model,
                  const OutlierChannels& outliers, const std::optional<ChatSettings>& chat = std::nullopt);

// The model's A and B = those of `adapter`. Throws Error unless it has every adapter of the model, with its rank.
template <class Device>
void load_adapter(Model<Device>& model, const Adapter& adapter);

// Sets s of the layers in `scales`, which has the names of all_joint_linears(). A layer with another number of outlier
// channels is left as it is.
template <class Device>
void load_scales(Model<Device>& model, const std::map<std::string, std::vector<float>>& scales);

}  // namespace quaff
