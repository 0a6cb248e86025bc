// A model directory with small tokenizer files, removed with the test.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "test/files.h"

class ModelDirectory {
  public:
    const std::filesystem::path& path() const { return directory_.path(); }

    void write_bytes(const std::string& name, const std::string& bytes) const { directory_.write(name, bytes); }
    void write(const std::string& name, const nlohmann::json& value) const { write_bytes(name, value.dump()); }

  private:
    test::TempDir directory_;
};
