// The tiny config.json with some fields changed, what is read from it, and what its reader says against it.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "quaff/files/model_config.h"
#include "test/files.h"
#include "test/quaff/tiny_model.h"

namespace test {

// A field set to null is null, not absent.
inline nlohmann::json with(const nlohmann::json& fields, const std::string& model_type = "llama") {
    nlohmann::json config = tiny_config(model_type);
    config.update(fields);
    return config;
}

inline nlohmann::json without(nlohmann::json config, const std::string& field) {
    config.erase(field);
    return config;
}

inline quaff::ModelConfig read_config(const nlohmann::json& config) {
    const TempDir directory;
    directory.write("config.json", config.dump(1));
    return quaff::read_model_config(directory.path());
}

inline std::string config_error(const nlohmann::json& config) {
    const TempDir directory;
    directory.write("config.json", config.dump(1));
    return error_of(directory, [&] { quaff::read_model_config(directory.path()); });
}

}  // namespace test
