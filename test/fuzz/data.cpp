// Examples: the first byte picks the format, the second whether bad records end the reading; the rest is the file. The
// tokenizer of the harness makes every byte an id, and a conversation is its JSON.
#include <nlohmann/json.hpp>

#include "llmc/data/examples.h"
#include "test/fuzz/fuzz.h"

namespace {

std::vector<int32_t> to_ids(std::string_view text) {
    std::vector<int32_t> ids;
    for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
    return ids;
}

llmc::EncodedConversation encode(const llmc::Conversation& conversation) {
    if (!conversation.trained.empty() && conversation.trained.size() != conversation.messages.size()) std::abort();
    llmc::EncodedConversation encoded;
    encoded.ids = to_ids(conversation.messages.dump() + conversation.tools.dump());
    encoded.in_loss.assign(encoded.ids.size(), 1);
    return encoded;
}

const char* name_of(uint8_t format) {
    switch (format) {
        case 'l':
            return "data.jsonl";
        case 'j':
            return "data.json";
        case 'c':
            return "data.csv";
        case 't':
            return "data.tsv";
        case 'z':
            return "data.jsonl.gz";
        default:
            return nullptr;
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static const fuzz::Folder folder;
    static const llmc::TextEncoding encoding = {to_ids, 1, 2, true};
    const char* name = size < 2 ? nullptr : name_of(data[0]);
    if (name == nullptr) return -1;
    llmc::ExampleOptions options;
    options.vocab_size = 256;
    options.max_positions = 64;
    options.strict = data[1] % 2 == 0;
    if (data[1] % 4 >= 2) options.columns = llmc::parse_column_names("input=q,output=r,messages=m,system=s");
    const auto path = folder.write(name, fuzz::text_of(data + 2, size - 2));
    constexpr size_t kMostPacked = 1032;  // bytes that one of deflate stands for
    return fuzz::check(data[0] == 'z' ? size * kMostPacked : size, [&] {
        const llmc::Dataset all = llmc::read_examples(path, encoding, options, encode);
        for (const llmc::Example& example : all.examples) {
            if (example.labels.size() != example.input_ids.size() || llmc::count_labelled(example) == 0) std::abort();
        }
    });
}
