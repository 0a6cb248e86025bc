#include "quaff/files/merge.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "llmc/core/dtype.h"
#include "llmc/core/error.h"
#include "llmc/io/file_io.h"
#include "llmc/io/json.h"
#include "llmc/io/path.h"
#include "llmc/io/safetensors.h"
#include "quaff/files/adapter.h"
#include "quaff/files/companions.h"
#include "quaff/files/folder_commit.h"
#include "quaff/files/model_files.h"
#include "quaff/files/quaff_json.h"

namespace quaff {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

namespace {

// The index of the files as they are. What else the original one says is kept.
void write_index(const ModelFiles& model, const fs::path& directory) {
    ordered_json index = read_json(model.directory() / kIndex);
    std::map<std::string, std::string> files;
    for (const auto& [tensor, shard] : model.shard_of())
        files[tensor] = model.shards()[shard].path().filename().string();
    index["weight_map"] = files;
    write_file_atomically(directory / kIndex, dump_pretty(index));
}

// w[o, i] += scaling * sum_k b[o, k] a[k, i]
void add_product(Matrix<float> w, const LoraAdapter& lora) {
#pragma omp parallel for schedule(static)
    for (int64_t o = 0; o < w.rows; ++o) {
        float* row = w.row(o);
        for (int64_t k = 0; k < lora.a.rows; ++k) {
            const float factor = lora.scaling * lora.b(o, k);
            const float* a = lora.a.row(k);
            for (int64_t i = 0; i < w.cols; ++i) row[i] += factor * a[i];
        }
    }
}

// Sums of squares: of what the adapter changes, and of what rounding adds to that.
struct Squares {
    double change = 0, rounding = 0;
};

void add_squares(Squares& sums, std::span<const float> before, std::span<const float> exact,
                 std::span<const float> rounded) {
    for (size_t i = 0; i < exact.size(); ++i) {
        const double change = exact[i] - before[i], rounding = rounded[i] - exact[i];
        sums.change += change * change;
        sums.rounding += rounding * rounding;
    }
}

// Merges one file of weights, tensor by tensor, in the order in which they lie in it. Returns how many the adapter
// changed; squares += theirs.
int64_t merge_shard(const SafetensorsFile& shard, const TensorNames& names, const Adapter& adapter, const fs::path& out,
                    Squares& squares) {
    std::vector<TensorSpec> specs;
    for (const auto& [name, tensor] : shard.tensors()) specs.push_back({name, tensor.dtype, tensor.shape});
    std::stable_sort(specs.begin(), specs.end(), [&](const TensorSpec& a, const TensorSpec& b) {
        return shard.tensor(a.name).bytes.data() < shard.tensor(b.name).bytes.data();
    });
    SafetensorsWriter writer(out / shard.path().filename(), specs, shard.metadata());
    int64_t merged = 0;
    std::vector<float> weight, before, stored;
    std::vector<std::byte> rounded;
    for (const TensorSpec& spec : specs) {
        const std::string weight_suffix = ".weight";
        const std::string own_name = names.from_files(spec.name);
        const LoraAdapter* lora = own_name.ends_with(weight_suffix)
                                      ? adapter.find(own_name.substr(0, own_name.size() - weight_suffix.size()))
                                      : nullptr;
        if (lora == nullptr) {
            writer.write(spec.name, shard.tensor(spec.name).bytes);
            shard.release(spec.name);
            continue;
        }
        const std::vector<int64_t> expected = {lora->b.rows, lora->a.cols};
        require(spec.shape == expected, shard.path().string(), ": tensor ", spec.name, " has shape ",
                shape_to_string(spec.shape), ", but config.json asks for ", shape_to_string(expected));
        const DType dtype = shard.dtype(spec.name);
        weight.resize(static_cast<size_t>(expected[0] * expected[1]));
        shard.read(spec.name, weight);
        before = weight;
        shard.release(spec.name);
        add_product({weight.data(), expected[0], expected[1]}, *lora);
        const float largest = dtype == DType::f16 ? 65504.0f : std::numeric_limits<float>::max();
        for (const float value : weight) {
            require(std::abs(value) <= largest, shard.path().string(), ": the merged ", spec.name, " has the value ",
                    value, ", which ", name_of(dtype), " does not hold; the adapter does not belong to this model");
        }
        rounded.resize(weight.size() * static_cast<size_t>(size_of(dtype)));
        from_float(dtype, weight.data(), rounded.data(), static_cast<int64_t>(weight.size()));
        writer.write(spec.name, rounded);
        stored.resize(weight.size());
        to_float(dtype, rounded.data(), stored.data(), static_cast<int64_t>(stored.size()));
        add_squares(squares, before, weight, stored);
        ++merged;
    }
    writer.finish();
    return merged;
}

}  // namespace

MergeReport merge_adapter(const fs::path& model, const fs::path& adapter_directory, const fs::path& out) {
    const ModelFiles checkpoint(model);
    const Adapter adapter(adapter_directory, checkpoint.config());
    for (const LoraAdapter& tensor : adapter.tensors()) {
        require(checkpoint.contains(tensor.module + ".weight"), model.string(), ": the weights have no tensor ",
                tensor.module, ".weight, which the adapter changes");
    }
    // A symbolic link or a trailing slash would defeat the rename at the end.
    const fs::path target = without_slash(fs::weakly_canonical(fs::absolute(out)));
    require(target != fs::canonical(model) && target != fs::canonical(adapter_directory), out.string(),
            ": holds what is being merged; choose another directory for the result");
    require(!fs::exists(target) || (fs::is_directory(target) && fs::is_empty(target)), out.string(),
            ": already exists and is not an empty directory; choose another one or remove it first");

    MergeReport report;
    report.notes = checkpoint.config().notes;
    report.notes.insert(report.notes.end(), adapter.notes().begin(), adapter.notes().end());
    const auto state = read_quaff_state(adapter_directory, checkpoint.config());
    if (state && state->chat && state->chat->layout != kOwnTemplate &&
        (state->chat->lays_out() || !read_model_templates(model).empty()))
        report.notes.push_back(concat(adapter_directory.string(), ": was trained with the template ",
                                      state->chat->layout,
                                      ", which is not in the merged model; name it again where the model is used"));
    Squares squares;
    write_new_folder(target, [&](const fs::path& folder) {
        for (const SafetensorsFile& shard : checkpoint.shards()) {
            report.merged_layers += merge_shard(shard, checkpoint.names(), adapter, folder, squares);
            report.bytes += static_cast<int64_t>(fs::file_size(folder / shard.path().filename()));
            ++report.files;
        }
        if (!fs::exists(model / "model.safetensors")) write_index(checkpoint, folder);
        copy_companions(model, folder, is_companion);
    });
    if (squares.change > 0) report.rounding = std::sqrt(squares.rounding / squares.change);
    return report;
}

}  // namespace quaff
