// An adapter: adapter_config.json beside good tensors ('c') or adapter_model.safetensors beside a good config ('t').
// The config's patterns are tried on every linear, and written again.
#include "quaff/files/adapter.h"

#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "quaff/files/info.h"
#include "test/fuzz/fuzz.h"
#include "test/fuzz/tiny_model.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static const fuzz::Folder config, tensors;
    static const quaff::ModelConfig model = [] {
        config.write("config.json", fuzz::kTinyConfig);
        config.write("adapter_model.safetensors", fuzz::kEmptySafetensors);
        tensors.write("adapter_config.json",
                      R"({"peft_type": "LORA", "r": 1, "lora_alpha": 1, "target_modules": ["o_proj"]})");
        return quaff::read_model_config(config.path());
    }();
    if (size == 0 || (data[0] != 'c' && data[0] != 't')) return -1;  // not worth keeping
    const fuzz::Folder& folder = data[0] == 'c' ? config : tensors;
    folder.write(data[0] == 'c' ? "adapter_config.json" : "adapter_model.safetensors",
                 fuzz::text_of(data + 1, size - 1));
    return fuzz::check(size, [&] {
        quaff::info_text(quaff::inspect(folder.path()));
        const quaff::LoraConfig lora = quaff::read_lora_config(folder.path());
        quaff::for_each_linear(model, [&](const quaff::JointLinear&, const quaff::LinearPart& part) {
            if (lora.targets(part.name) && !std::isfinite(lora.scaling(part.name))) std::abort();
        });
        static const fuzz::Folder again;
        quaff::write_lora_config(again.path(), lora, {});
        quaff::Adapter(folder.path(), model);
    });
}
