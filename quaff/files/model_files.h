// A Hugging Face model directory: config.json, and model.safetensors or the shards that model.safetensors.index.json
// names. What the files of weights hold is believed over what is said of them: over the index, over
// tie_word_embeddings. Files are mapped. A tensor is converted to fp32 when it is read, and its pages are released
// then: reading a whole model takes the memory of one tensor.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "llmc/core/tensor.h"
#include "llmc/io/safetensors.h"
#include "quaff/files/model_config.h"
#include "quaff/files/tensor_names.h"

namespace quaff {

using namespace llmc;

// Names of tensors, whatever the files call them (tensor_names.h), and of the file that says which shard holds which.
inline constexpr const char* kEmbedding = "model.embed_tokens.weight";
inline constexpr const char* kHead = "lm_head.weight";
inline constexpr const char* kLastNorm = "model.norm.weight";
inline constexpr const char* kIndex = "model.safetensors.index.json";

class ModelFiles {
  public:
    // Reads the config, the index and the headers. Throws Error when they are missing, damaged or do not fit each
    // other, or when the weights hold a tensor that would be missed (unused_tensors.h).
    explicit ModelFiles(const std::filesystem::path& directory);

    // As the files are: its tie_word_embeddings is false where they hold a head of its own, and its notes tell what of
    // the directory was not followed.
    const ModelConfig& config() const { return config_; }
    // The tensor of the embedding. A tied model may store it as its head alone.
    const char* embedding() const { return embedding_; }
    const std::filesystem::path& directory() const { return directory_; }
    std::string name() const;  // the directory's last part
    const TensorNames& names() const { return *names_; }
    bool contains(const std::string& tensor) const { return shard_of_.count(names_->in_files(tensor)) != 0; }

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
    // tensor, as the files name it -> index into shards().
    const std::map<std::string, size_t>& shard_of() const { return shard_of_; }

  private:
    void open_shards(const std::filesystem::path& index_path);
    void tie();
    const SafetensorsFile& file_of(const std::string& tensor) const;

    std::filesystem::path directory_;
    ModelConfig config_;
    std::vector<SafetensorsFile> shards_;
    std::map<std::string, size_t> shard_of_;
    std::optional<TensorNames> names_;
    const char* embedding_ = kEmbedding;
};

}  // namespace quaff
