// Conversations: the first byte picks a template, the second which answers are in the loss; the rest is a row of JSON.
// Whatever the row says, the ids are those of the whole text, each has a place in or out of the loss, and what is in it
// stands behind the first message's begin.
#include "llmc/chat/chat_encoder.h"
#include "llmc/data/record.h"
#include "test/fuzz/fuzz.h"

namespace {

using namespace llmc;

// Three letters and two marks; other characters are not in its vocabulary.
constexpr std::string_view kTokenizer =
    R"({"version": "1.0", "added_tokens": [{"id": 5, "content": "<s>", "special": true},
        {"id": 6, "content": "<end>", "special": true, "rstrip": true}], "decoder": {"type": "Fuse"},
        "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "c": 2, "ab": 3, "abc": 4}, "merges": ["a b", "ab c"]}})";

constexpr const char* kTemplates[] = {
    "{% for m in messages %}<s>{{ m.role }}\n{{ m.content }}<end>\n{% endfor %}",
    "{% for m in messages %}{{ m.role ~ ':' ~ m.content | string | trim }}\n{% endfor %}",
    "{{ tools | tojson }}{% for m in messages %}<s>{{ m | tojson }}<end>{% endfor %}",
    "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}<end>{% endgeneration %}"
    "{% else %}{{ m.content }}{% endif %}{% endfor %}",
    "{% set ns = namespace(called=false) %}{% for m in messages %}<s>{% for call in m.tool_calls or [] %}"
    "{{ call | tojson }}{% set ns.called = true %}{% endfor %}{% if m.role == 'tool' and not ns.called %}"
    "{{ raise_exception('no call') }}{% endif %}{{ m.reasoning_content }}{{ m.content }}<end>{% endfor %}",
    "{% for m in messages | reverse %}{{ m.content }}{{ m.content | length }}{% endfor %}",
};

std::vector<Field> fields_of(std::string_view row) {
    Json object = parse_ordered_json(row, "row");
    std::vector<Field> fields;
    if (object.is_object())
        for (auto& [name, value] : object.items()) fields.push_back({name, std::move(value)});
    return fields;
}

void use(const Conversation& said, const ChatTemplate& chat_template, const Tokenizer& tokenizer, LossOn loss_on) {
    const ChatEncoder encoder(chat_template, tokenizer, 6, loss_on);
    const EncodedConversation encoded = encoder.encode(said);
    std::vector<int32_t> ids = tokenizer.encode(chat_template.render(chat_template.variables(said, false)).text);
    if (encoded.ends_in_eos) ids.push_back(6);
    if (encoded.ids != ids || encoded.in_loss.size() != ids.size()) std::abort();
    if (!ids.empty() && encoded.in_loss.front()) std::abort();
    encoder.encode_prompt(said);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static const fuzz::Folder folder;
    static const std::unique_ptr<Tokenizer> tokenizer = [] {
        folder.write("tokenizer.json", kTokenizer);
        return Tokenizer::load(folder.path());
    }();
    if (size < 2 || data[0] < '0' || static_cast<size_t>(data[0] - '0') >= std::size(kTemplates)) return -1;
    const ChatTemplate chat_template({{"default", "template", kTemplates[data[0] - '0']}}, {});
    const LossOn loss_on = data[1] % 2 == 0 ? LossOn::all : LossOn::last;
    return fuzz::check(size, [&] {
        ReadingNotes notes;
        for (const Record& record : to_records(fields_of(fuzz::text_of(data + 2, size - 2)), {}, notes))
            if (record.kind == Record::Kind::conversation) use(record.conversation, chat_template, *tokenizer, loss_on);
    });
}
