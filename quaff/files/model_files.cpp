#include "quaff/files/model_files.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "llmc/core/error.h"
#include "llmc/io/json.h"
#include "llmc/io/path.h"
#include "quaff/files/model_family.h"
#include "quaff/files/unused_tensors.h"

namespace quaff {

using nlohmann::json;

namespace {

// tensor -> file name, of a sharded model. Anybody may have written the index: only plain names inside the directory
// are accepted.
std::map<std::string, std::string> read_index(const std::filesystem::path& path) {
    const json tree = read_json(path);
    const JsonObject index(tree, path.string());
    const JsonObject weight_map = index.object("weight_map");
    std::map<std::string, std::string> files;
    for (const auto& [tensor, file] : weight_map.tree().items()) {
        const std::string name = weight_map.string(tensor);
        require(!name.empty() && name.find('/') == name.npos && name.find('\\') == name.npos &&
                    name.find('\0') == name.npos && name != "." && name != "..",
                weight_map.field(tensor), " must name a file in the same directory, found ", describe(file));
        files[tensor] = name;
    }
    require(!files.empty(), index.field("weight_map"), " names no tensor");
    return files;
}

// Where in config.json a dimension of a tensor comes from.
std::string origin_of_shape(const std::string& tensor, const ModelConfig& config) {
    const auto ends_with = [&](const char* end) {
        return tensor.ends_with(concat(end, ".weight")) || tensor.ends_with(concat(end, ".bias"));
    };
    std::string hidden = concat("hidden_size ", config.hidden_size);
    const std::string queries =
        concat("num_attention_heads ", config.num_attention_heads, " x head_dim ", config.head_dim);
    const std::string keys =
        concat("num_key_value_heads ", config.num_key_value_heads, " x head_dim ", config.head_dim);
    const std::string mlp = concat("intermediate_size ", config.intermediate_size);
    if (ends_with("q_proj") || ends_with("o_proj")) return queries + ", " + hidden;
    if (ends_with("k_proj") || ends_with("v_proj")) return keys + ", " + hidden;
    if (ends_with("qkv_proj"))
        return concat("(num_attention_heads ", config.num_attention_heads, " + 2 x num_key_value_heads ",
                      config.num_key_value_heads, ") x head_dim ", config.head_dim, ", ", hidden);
    if (ends_with("gate_proj") || ends_with("up_proj") || ends_with("down_proj")) return mlp + ", " + hidden;
    if (ends_with("q_norm") || ends_with("k_norm")) return concat("head_dim ", config.head_dim);
    if (ends_with("embed_tokens") || ends_with("lm_head"))
        return concat("vocab_size ", config.vocab_size, ", ", hidden);
    return hidden;
}

// Throws when the weights have layers beyond those of the config: a model cut short says nonsense.
void check_layers(const std::filesystem::path& directory, const std::map<std::string, size_t>& tensors,
                  const ModelConfig& config, const TensorNames& names) {
    const std::string prefix = concat(config.decoder(), ".layers.");
    for (const auto& [tensor, _] : tensors) {
        int64_t layer = 0;
        const std::string name = names.from_files(tensor);
        if (!name.starts_with(prefix) ||
            std::from_chars(name.data() + prefix.size(), name.data() + name.size(), layer).ec != std::errc())
            continue;
        require(layer < config.num_hidden_layers, directory.string(), ": the weights hold ", tensor,
                ", but config.json says num_hidden_layers ", config.num_hidden_layers,
                ". The weights and the config do not belong together.");
    }
}

// Whether two tensors hold the same values. Their pages are released.
bool are_equal(const SafetensorsFile& file, const std::string& tensor, const SafetensorsFile& other_file,
               const std::string& other) {
    const SafeTensor &a = file.tensor(tensor), &b = other_file.tensor(other);
    bool equal = a.shape == b.shape;
    if (equal && a.dtype == b.dtype) {
        equal = std::ranges::equal(a.bytes, b.bytes);
    } else {
        constexpr int64_t kAtOnce = 1 << 20;
        std::vector<float> x, y;
        for (int64_t first = 0; equal && first < a.size(); first += kAtOnce) {
            x.resize(static_cast<size_t>(std::min(kAtOnce, a.size() - first)));
            y.resize(x.size());
            file.read_part(tensor, first, x);
            other_file.read_part(other, first, y);
            equal = x == y;
        }
    }
    file.release(tensor);
    other_file.release(other);
    return equal;
}

}  // namespace

ModelFiles::ModelFiles(const std::filesystem::path& directory)
    : directory_(directory), config_(read_model_config(directory)) {
    const std::filesystem::path index_path = directory / kIndex;
    const std::filesystem::path single = directory / "model.safetensors";
    if (path_exists(single)) {
        shards_.emplace_back(single);
        for (const auto& [tensor, _] : shards_[0].tensors()) shard_of_[tensor] = 0;
    } else {
        require(path_exists(index_path), directory.string(),
                ": has neither model.safetensors nor model.safetensors.index.json; PyTorch's .bin files are not read, "
                "convert them to safetensors");
        open_shards(index_path);
    }
    names_.emplace(config_, [&](const std::string& tensor) { return shard_of_.count(tensor) != 0; });
    check_layers(directory, shard_of_, config_, *names_);
    const std::string unused = unused_tensors(config_, *names_, shards_);
    if (!unused.empty()) config_.notes.push_back(unused);
    tie();
    if (family_of(config_.architecture).scales_embedding_by_width)
        config_.embedding_multiplier = rounded_to(dtype(embedding_), static_cast<float>(config_.embedding_multiplier));
}

// The index says which files there are. Which tensor is where, they say themselves, as in transformers.
void ModelFiles::open_shards(const std::filesystem::path& index_path) {
    const std::map<std::string, std::string> files = read_index(index_path);
    std::set<std::string> names;
    for (const auto& [tensor, file] : files) names.insert(file);
    for (const std::string& name : names) {
        require(path_exists(directory_ / name), (directory_ / name).string(), ": is missing, though ", kIndex,
                " names it; fetch the model's folder again");
        const SafetensorsFile& shard = shards_.emplace_back(directory_ / name);
        for (const auto& [tensor, _] : shard.tensors()) {
            const auto [place, is_new] = shard_of_.emplace(tensor, shards_.size() - 1);
            require(is_new, directory_.string(), ": tensor ", tensor, " is in ",
                    shards_[place->second].path().filename().string(), " and in ", name,
                    "; one of them is another model's, fetch the folder again");
        }
    }
    std::vector<std::string> elsewhere;
    for (const auto& [tensor, file] : files) {
        const auto place = shard_of_.find(tensor);
        require(place != shard_of_.end(), index_path.string(), ": says that tensor ", tensor, " is in ", file,
                ", but it is not there");
        if (shards_[place->second].path().filename() != file) elsewhere.push_back(tensor);
    }
    if (elsewhere.empty()) return;
    const std::string what = elsewhere.size() == 1 ? concat("tensor ", elsewhere[0], " is in another file")
                                                   : concat("tensors ", elsewhere[0], " and ", elsewhere.size() - 1,
                                                            " more are in other files");
    config_.notes.push_back(concat(index_path.string(), ": ", what, " than it says; the files are believed"));
}

// transformers ties the head to the embedding only where the weights do not say otherwise, and to whichever is there.
void ModelFiles::tie() {
    if (!config_.tie_word_embeddings || !contains(kHead)) return;
    if (!contains(kEmbedding)) {
        embedding_ = kHead;
    } else if (!are_equal(file_of(kEmbedding), names_->in_files(kEmbedding), file_of(kHead), names_->in_files(kHead))) {
        config_.tie_word_embeddings = false;
        config_.notes.push_back(concat((directory_ / "config.json").string(),
                                       ": field \"tie_word_embeddings\" is true, but the weights hold another ", kHead,
                                       " than the embedding; it is used, as in transformers, and nothing is tied"));
    }
}

std::string ModelFiles::name() const {
    return without_slash(std::filesystem::absolute(directory_)).filename().string();  // absolute: "." is no name
}

const SafetensorsFile& ModelFiles::file_of(const std::string& tensor) const {
    const std::string name = names_->in_files(tensor);
    const auto it = shard_of_.find(name);
    require(it != shard_of_.end(), directory_.string(), ": the weights have no tensor ", name, ", which a ",
            name_of(config_.architecture), " model with this config.json needs");
    return shards_[it->second];
}

DType ModelFiles::dtype(const std::string& tensor) const {
    return file_of(tensor).dtype(names_->in_files(tensor));
}

void ModelFiles::read(const std::string& tensor, Matrix<float> out) const {
    read_rows(tensor, out.rows, 0, out);
}

void ModelFiles::read_rows(const std::string& own_name, int64_t rows, int64_t first, Matrix<float> out) const {
    const SafetensorsFile& file = file_of(own_name);
    const std::string tensor = names_->in_files(own_name);
    const SafeTensor& source = file.tensor(tensor);
    const std::vector<int64_t> matrix = {rows, out.cols}, vector = {out.cols};
    if (source.shape != matrix && !(rows == 1 && source.shape == vector)) {
        fail(file.path().string(), ": tensor ", tensor, " has shape ", shape_to_string(source.shape),
             ", but config.json asks for ", shape_to_string(rows == 1 ? vector : matrix), " (",
             origin_of_shape(tensor, config_), "). The file and the config do not belong together.");
    }
    if (out.contiguous()) {
        file.read_part(tensor, first * out.cols, {out.data, static_cast<size_t>(out.size())});
    } else {
        std::vector<float> values(static_cast<size_t>(out.size()));
        file.read_part(tensor, first * out.cols, values);
        for (int64_t i = 0; i < out.rows; ++i) {
            std::memcpy(out.row(i), values.data() + i * out.cols, static_cast<size_t>(out.cols) * sizeof(float));
        }
    }
    file.release(tensor);
}

}  // namespace quaff
