// A model's adapters and scales, to and from an adapter's folder.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "quaff/files/adapter.h"
#include "quaff/model/model.h"
#include "quaff/run/options.h"
#include "quaff/run/starting_point.h"

namespace quaff {

// Throws Error unless the adapter has every adapted module of the model, in the model's rank.
template <class Device>
void load_adapter(Model<Device>& model, const Adapter& adapter);

// s of the layers that are named; the others keep theirs.
template <class Device>
void load_scales(Model<Device>& model, const std::map<std::string, std::vector<float>>& scales);

// The three files of an adapter, into `folder`.
template <class Device>
void save_adapter(const std::filesystem::path& folder, Model<Device>& model, const StartingPoint& start,
                  const Options& options);

}  // namespace quaff
