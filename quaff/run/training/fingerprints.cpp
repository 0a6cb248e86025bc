#include "quaff/run/training/fingerprints.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "llmc/core/error.h"
#include "llmc/io/file_io.h"
#include "llmc/io/sha256.h"
#include "quaff/model/devices.h"

namespace quaff {
namespace {

template <class Value>
void update(Sha256& digest, std::span<const Value> values) {
    digest.update({reinterpret_cast<const char*>(values.data()), values.size_bytes()});
}

}  // namespace

std::string fingerprint(const ModelFiles& files) {
    constexpr size_t kFirstBytes = 4096;
    Sha256 digest;
    digest.update(read_file(files.directory() / "config.json"));
    for (const SafetensorsFile& shard : files.shards()) {
        for (const auto& [name, tensor] : shard.tensors()) {
            digest.update(concat(name, " ", tensor.dtype, " ", shape_to_string(tensor.shape), "\n"));
            const auto first = tensor.bytes.first(std::min(kFirstBytes, tensor.bytes.size()));
            digest.update({reinterpret_cast<const char*>(first.data()), first.size()});
        }
    }
    return digest.finish();
}

std::string fingerprint(std::span<const Example> examples) {
    Sha256 digest;
    for (const Example& example : examples) {
        for (const std::vector<int32_t>* ids : {&example.input_ids, &example.labels}) {
            const uint64_t size = ids->size();
            update(digest, std::span(&size, 1));
            update(digest, std::span<const int32_t>(*ids));
        }
    }
    return digest.finish();
}

std::string fingerprint(const OutlierChannels& outliers) {
    Sha256 digest;
    digest.update(nlohmann::json(outliers.channels).dump());
    return digest.finish();
}

template <class Device>
std::string fingerprint_of_state(Model<Device>& model) {
    Sha256 digest;
    for (const std::span<float> values : {model.parameters(), model.adam_m(), model.adam_v()})
        update(digest, std::span<const float>(model.read(values)));
    for (const LayerScales& layer : model.scales()) update(digest, std::span<const float>(layer.s));
    return digest.finish();
}

#define INSTANTIATE(Device) template std::string fingerprint_of_state(Model<Device>&);
QUAFF_FOR_EACH_DEVICE(INSTANTIATE)

}  // namespace quaff
