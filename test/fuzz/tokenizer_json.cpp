// tokenizer.json or, beside a good one, tokenizer_config.json (first byte 't' or 'c'); then texts are encoded and
// decoded, and the chat template is looked for.
#include "llmc/chat/template_texts.h"
#include "test/fuzz/fuzz.h"
#include "test/fuzz/tokenizer.h"

namespace {

constexpr std::string_view kGoodTokenizer =
    R"({"version": "1.0", "added_tokens": [{"id": 5, "content": "<s>", "special": true}], "decoder": {"type": "Fuse"},
        "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "c": 2, "ab": 3, "abc": 4}, "merges": ["a b", "ab c"]}})";

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static const fuzz::Folder tokenizer, config;
    static const std::filesystem::path good = config.write("tokenizer.json", kGoodTokenizer);
    if (size == 0 || (data[0] != 't' && data[0] != 'c')) return -1;  // not worth keeping
    const fuzz::Folder& folder = data[0] == 't' ? tokenizer : config;
    folder.write(data[0] == 't' ? "tokenizer.json" : "tokenizer_config.json", fuzz::text_of(data + 1, size - 1));
    return fuzz::check(size, [&] {
        if (data[0] == 'c') {
            try {
                llmc::read_model_templates(folder.path());
                llmc::read_special_tokens(folder.path());
            } catch (const llmc::Error&) {
                // The tokenizer may be good without a template.
            }
        }
        fuzz::use_tokenizer(folder.path());
    });
}
