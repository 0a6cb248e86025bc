// Examples: the first byte picks the format, the second whether bad records end the reading; the rest is the file. The
// tokenizer of the harness makes every byte an id.
#include "llmc/data/examples.h"
#include "test/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static const fuzz::Folder folder;
    static const llmc::TextEncoding encoding = {
        [](std::string_view text) { return std::vector<int32_t>(text.begin(), text.end()); }, 1, 2, true};
    if (size < 2) return -1;
    const char* name = data[0] == 'l'   ? "data.jsonl"
                       : data[0] == 'j' ? "data.json"
                       : data[0] == 'c' ? "data.csv"
                       : data[0] == 't' ? "data.tsv"
                                        : nullptr;
    if (name == nullptr) return -1;
    llmc::ExampleOptions options;
    // Each message is one token, with a loss if it is the assistant's.
    static const llmc::ConversationEncoder encode_conversation = [](const llmc::Conversation& conversation) {
        llmc::EncodedConversation encoded;
        for (const llmc::Json& message : conversation.messages) {
            encoded.ids.push_back(static_cast<int32_t>(message.size() % 256));
            encoded.in_loss.push_back(message.at("role") == "assistant");
        }
        return encoded;
    };
    options.vocab_size = 256;
    options.max_positions = 64;
    options.strict = data[1] % 2 == 0;
    const auto path = folder.write(name, fuzz::text_of(data + 2, size - 2));
    return fuzz::check(size, [&] {
        const llmc::Dataset all = llmc::read_examples(path, encoding, options, encode_conversation);
        for (const llmc::Example& example : all.examples) {
            if (example.labels.size() != example.input_ids.size() || llmc::count_labelled(example) == 0) std::abort();
        }
    });
}
