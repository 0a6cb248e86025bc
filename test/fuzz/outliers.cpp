// JSON that belongs to a model: an outlier file or, first byte 'q', the quaff.json beside an adapter.
#include "quaff/files/outliers.h"

#include <nlohmann/json.hpp>

#include "quaff/files/info.h"
#include "quaff/files/quaff_json.h"
#include "test/fuzz/fuzz.h"
#include "test/fuzz/tiny_model.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static const fuzz::Folder folder;
    static const quaff::ModelConfig model = [] {
        folder.write("config.json", fuzz::kTinyConfig);
        return quaff::read_model_config(folder.path());
    }();
    if (size > 0 && data[0] == 'q') {
        folder.write("quaff.json", fuzz::text_of(data + 1, size - 1));
        return fuzz::check(size, [&] {
            if (const auto state = quaff::read_quaff_state(folder.path(), model); state && state->outliers)
                quaff::outliers_to_json(*state->outliers);
        });
    }
    const auto path = folder.write("outliers.json", fuzz::text_of(data, size));
    return fuzz::check(size, [&] {
        quaff::info_text(quaff::inspect(path));
        quaff::outliers_to_json(quaff::read_outlier_channels(path, model));
    });
}
