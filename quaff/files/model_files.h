// A Hugging Face model directory: config.json, and model.safetensors or the shards that model.safetensors.index.json
// names. Files are mapped. A tensor is converted to fp32 when it is read, and its pages are released then: reading a
// whole model takes the memory of one tensor.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "llmc/core/tensor.h"
#include "llmc/io/safetensors.h"
#include "quaff/files/model_config.h"

namespace quaff {

using namespace llmc;

// Names of tensors.
inline constexpr const char* kEmbedding = "model.embed_tokens.weight";
inline constexpr const char* kHead = "lm_head.weight";

class ModelFiles {
  public:
    // Reads the config, the index and the headers. Throws Error when they are missing, damaged or do not fit each
    // other.
    explicit ModelFiles(const std::filesystem::path& directory);

    const ModelConfig& config() const { return config_; }
    const std::filesystem::path& directory() const { return directory_; }
    std::string name() const;  // the directory's last part
    bool contains(const std::string& tensor) const { return shard_of_.count(tensor) != 0; }

    // out = the tensor in fp32. Throws Error, naming the tensor, when it is missing, when its shape is not
    // [out.rows, out.cols] (for one row also [out.cols]), when its dtype is none of F32, F16, BF16, or when a value is
    // NaN or infinite.
    void read(const std::string& tensor, Matrix<float> out) const;
    // out = rows first .. first + out.rows - 1 of a tensor [rows, out.cols]. Throws as read() does.
    void read_rows(const std::string& tensor, int64_t rows, int64_t first, Matrix<float> out) const;
    // Throws Error when the tensor is missing or its dtype is none of the three.
    DType dtype(const std::string& tensor) const;

    // The files: one, or the shards in the order of their names.
    const std::vector<SafetensorsFile>& shards() const { return shards_; }

  private:
    const SafetensorsFile& file_of(const std::string& tensor) const;

    std::filesystem::path directory_;
    ModelConfig config_;
    std::vector<SafetensorsFile> shards_;
    std::map<std::string, size_t> shard_of_;  // tensor -> index into shards_
};

}  // namespace quaff
