// The variables that a template sees, from JSON.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "llmc/jinja/values/runtime.h"

namespace llmc::jinja {

// Strings are not copied: `json` outlives the rendering.
Value from_json(Runtime& runtime, const nlohmann::ordered_json& json);

}  // namespace llmc::jinja
