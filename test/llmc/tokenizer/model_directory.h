// A model directory that lasts as long as the test, with small tokenizer files in it.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

class ModelDirectory {
  public:
    ModelDirectory() {
        static int count = 0;
        path_ = std::filesystem::temp_directory_path() /
                ("quaff_tokenizer_test_" + std::to_string(getpid()) + "_" + std::to_string(count++));
        std::filesystem::create_directories(path_);
    }
    ~ModelDirectory() { std::filesystem::remove_all(path_); }
    ModelDirectory(const ModelDirectory&) = delete;
    ModelDirectory& operator=(const ModelDirectory&) = delete;

    const std::filesystem::path& path() const { return path_; }

    void write_bytes(const std::string& name, const std::string& bytes) const {
        std::ofstream(path_ / name, std::ios::binary) << bytes;
    }
    void write(const std::string& name, const nlohmann::json& value) const { write_bytes(name, value.dump()); }

  private:
    std::filesystem::path path_;
};
