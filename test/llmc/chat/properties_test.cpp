// What holds for every conversation: the loss lies on what the assistant says and nowhere else, and rendering and
// encoding twice gives the same.
#include <cctype>
#include <random>

#include "llmc/chat/chat_encoder.h"
#include "test/catch.h"
#include "test/llmc/chat/conversations.h"

using namespace llmc;

namespace {

// The user and the templates write capitals, the assistant small letters, so that every token tells whose it is.
std::string random_text(std::mt19937& random, char first_letter) {
    const char* const blanks[] = {" ", "\n", "  ", "", "", "\t", "é", "。"};
    std::string text;
    const auto pick = [&](unsigned n) { return static_cast<unsigned>(random()) % n; };
    for (unsigned i = pick(8); i > 0; --i) {
        text += blanks[pick(8)];
        for (unsigned k = pick(6); k > 0; --k) text += static_cast<char>(first_letter + pick(26));
        text += blanks[pick(8)];
    }
    return text;
}

Conversation random_conversation(std::mt19937& random) {
    Conversation said;
    said.messages = Json::array();
    if (random() % 3 == 0) said.messages.push_back({{"role", "system"}, {"content", random_text(random, 'A')}});
    for (unsigned turns = 1 + random() % 4; turns > 0; --turns) {
        said.messages.push_back({{"role", "user"}, {"content", random_text(random, 'A')}});
        Json answer = {{"role", "assistant"}, {"content", random_text(random, 'a')}};
        if (random() % 3 == 0) answer["reasoning_content"] = random_text(random, 'a');
        if (random() % 4 == 0)
            answer["content"] = Json::array({{{"type", "text"}, {"text", random_text(random, 'a')}}});
        said.messages.push_back(answer);
    }
    return said;
}

constexpr const char* kText =
    "{%- macro text(m) -%}{%- if m.content is string -%}{{ m.content }}{%- else -%}{{ m.content[0].text }}{%- endif -%}"
    "{%- endmacro -%}";

// Templates that write around, trim, and leave out. [B] and [E] stand for two special tokens of the tokenizer.
const std::string kTemplates[] = {
    "{% for m in messages %}[B]{{ m.role | upper }}\n{{ text(m) }}[E]\n{% endfor %}",
    "{% for m in messages %}[B]{{ m.role | upper ~ ' ' ~ text(m) | trim }}[E]{% endfor %}",
    "{% for m in messages %}{{ m.role | upper ~ ': ' ~ text(m) ~ '\n\n' }}{% endfor %}",
    "{% for m in messages %}[B]{{ m.role | upper }}{% if m.reasoning_content and loop.last %}[THINK]"
    "{{ m.reasoning_content | trim }}[DONE]{% endif %}{{ text(m) }}{% endfor %}",
    "{% for m in messages %}{{ m.role | upper }}{% if m.role == 'assistant' %}{% generation %}{{ text(m) }}[E]"
    "{% endgeneration %}{% else %}{{ text(m) }}[E]{% endif %}{% endfor %}",
};

struct Marks {
    const char *tokenizer, *begin, *end;
};
constexpr Marks kMarks[] = {{"smollm2", "<|im_start|>", "<|im_end|>"},
                            {"llama2", "<s>", "</s>"},
                            {"llama3", "<|start_header_id|>", "<|eot_id|>"}};

std::string with_marks(std::string jinja, const Marks& marks) {
    for (const auto& [sign, mark] : {std::pair("[B]", marks.begin), std::pair("[E]", marks.end)})
        for (size_t at; (at = jinja.find(sign)) != jinja.npos;) jinja.replace(at, 3, mark);
    return jinja;
}

}  // namespace

TEST_CASE("the loss is on what the assistant says and nowhere else", "[chat]") {
    std::mt19937 random(20);
    for (const Marks& marks : kMarks) {
        const auto tokenizer = Tokenizer::load(std::filesystem::path("test/data/tokenizer") / marks.tokenizer);
        for (const std::string& jinja : kTemplates) {
            const ChatTemplate chat_template = test::jinja_template(kText + with_marks(jinja, marks));
            const ChatEncoder encoder(chat_template, *tokenizer, tokenizer->eos_id().value(), LossOn::all);
            for (int i = 0; i < 30; ++i) {
                const Conversation said = random_conversation(random);
                CAPTURE(marks.tokenizer, jinja, said.messages.dump());
                const std::string text = chat_template.render(chat_template.variables(said, false)).text;
                const EncodedConversation encoded = encoder.encode(said), again = encoder.encode(said);
                CHECK(encoded.ids == again.ids);
                CHECK(encoded.in_loss == again.in_loss);
                const Encoding whole = tokenizer->encode_with_ranges(text);
                REQUIRE(encoded.ids.size() == whole.ids.size() + encoded.ends_in_eos);
                REQUIRE(encoded.in_loss.size() == encoded.ids.size());
                CHECK(std::equal(whole.ids.begin(), whole.ids.end(), encoded.ids.begin()));
                for (size_t t = 1; t < whole.ids.size(); ++t) {
                    if (tokenizer->is_special(whole.ids[t])) continue;
                    const auto [begin, end] = whole.ranges[t];
                    const std::string token = text.substr(begin, end - begin);
                    const bool small = std::ranges::any_of(token, [](unsigned char c) { return std::islower(c); });
                    const bool capital = std::ranges::any_of(token, [](unsigned char c) { return std::isupper(c); });
                    INFO("token " << t << ": " << token);
                    if (small) CHECK(encoded.in_loss[t]);
                    // What the template writes within an answer is the assistant's.
                    if (capital && !small && jinja.find("[THINK]") == std::string::npos)
                        CHECK_FALSE(encoded.in_loss[t]);
                }
            }
        }
    }
}
