// A .safetensors file: its header, and every tensor of a weight type, read as fp32.
#include "llmc/io/safetensors.h"

#include "test/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static const fuzz::Folder folder;
    const auto path = folder.write("model.safetensors", fuzz::text_of(data, size));
    return fuzz::check(size, [&] {
        const llmc::SafetensorsFile file(path);
        for (const auto& [name, tensor] : file.tensors()) {
            try {
                std::vector<float> values(static_cast<size_t>(tensor.size()));
                file.read(name, values);
            } catch (const llmc::Error&) {
                // Another dtype, or not finite: the next tensor may be fine.
            }
            file.release(name);
        }
    });
}
