// A model directory's JSON: config.json, generation_config.json or, behind a good config.json, the index of shards. The
// first byte says which file the rest is.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "quaff/files/info.h"
#include "quaff/files/model_files.h"
#include "quaff/model/rope_table.h"
#include "test/fuzz/fuzz.h"
#include "test/fuzz/tiny_model.h"

namespace {

void read_config(const std::filesystem::path& directory) {
    quaff::ModelConfig config = quaff::read_model_config(directory);
    quaff::all_joint_linears(config);
    quaff::block_norms(config);
    const int64_t positions = std::min<int64_t>(config.max_position_embeddings, 1 << 20);
    quaff::RopeTable(config, positions);
    config.rope = config.local_rope;
    quaff::RopeTable(config, positions);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static const fuzz::Folder config, generation, index;
    static const bool ready = [] {
        generation.write("config.json", fuzz::kTinyConfig);
        index.write("config.json", fuzz::kTinyConfig);
        index.write("model-00001-of-00001.safetensors", fuzz::kEmptySafetensors);
        return true;
    }();
    if (!ready || size == 0) return 0;
    const std::string_view rest = fuzz::text_of(data + 1, size - 1);
    switch (data[0]) {
        case 'c':
            config.write("config.json", rest);
            return fuzz::check(size, [&] { read_config(config.path()); });
        case 'g':
            generation.write("generation_config.json", rest);
            return fuzz::check(size, [&] { read_config(generation.path()); });
        case 'i':
            index.write("model.safetensors.index.json", rest);
            return fuzz::check(size, [&] { quaff::info_text(quaff::inspect(index.path())); });
        default:
            return -1;  // not worth keeping
    }
}
