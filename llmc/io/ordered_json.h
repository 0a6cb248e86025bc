// JSON whose objects keep their fields in the order of the file.
#pragma once

#include <nlohmann/json.hpp>

namespace llmc {

using Json = nlohmann::ordered_json;

}  // namespace llmc
