#include "llmc/chat/chat_encoder.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <string_view>
#include <utility>

#include "llmc/chat/answer_spans.h"
#include "llmc/core/error.h"

namespace llmc {
namespace {

bool is_blank(std::string_view text) {
    return text.find_first_not_of(" \t\n\v\f\r") == text.npos;
}

bool says_nothing(const Json& message) {
    for (const char* name : {"content", "reasoning_content", "reasoning", "thinking", "tool_calls"}) {
        const auto field = message.find(name);
        if (field != message.end() && !field->empty() && *field != "") return false;
    }
    return true;
}

// The assistant's messages: their places in the list, and those that the loss counts.
struct Answers {
    std::vector<size_t> all, wanted;
};

Answers answers_of(const Json& messages, const std::vector<char>& trained, LossOn loss_on) {
    Answers answers;
    for (size_t i = 0; i < messages.size(); ++i)
        if (messages[i].value("role", "") == "assistant") answers.all.push_back(i);
    for (const size_t place : answers.all)
        if ((trained.empty() || trained.at(place)) && (loss_on == LossOn::all || place == answers.all.back()))
            answers.wanted.push_back(place);
    return answers;
}

// Marks the tokens of a text that the loss counts, from the front to the back.
class Marker {
  public:
    Marker(const Tokenizer& tokenizer, const std::string& text, const Encoding& encoding)
        : tokenizer_(tokenizer), text_(text), encoding_(encoding), in_loss_(encoding.ids.size()) {}

    std::vector<char> take() { return std::move(in_loss_); }
    void begin_anew() { from_ = 0; }

    // Every token that holds one of these bytes, as transformers' assistant mask does. Returns the position behind.
    size_t mark(size_t begin, size_t end) {
        while (from_ < size() && range(from_).end <= begin) ++from_;
        size_t t = from_;
        for (; t < size() && range(t).begin < end; ++t) in_loss_[t] = true;
        return t;
    }

    // An answer and the end of its turn: a special token, with blanks in front of it or, up to the span's limit, any
    // text. Returns the byte behind it; npos if no special token ends the turn, which then ends at its limit.
    size_t mark_turn(const AnswerSpan& span) {
        const size_t behind = mark(span.begin, span.end);
        // Where a call ends in another token than a text does, what differs ends within that token.
        if (behind > 0 && is_special(behind - 1) && range(behind - 1).begin >= span.begin &&
            range(behind - 1).end > span.end)
            return range(behind - 1).end;
        size_t t = behind;
        while (t < size() && !is_special(t) && (range(t).begin < span.limit || is_blank(text_of(t)))) ++t;
        if (t < size() && is_special(t)) {
            std::fill(in_loss_.begin() + static_cast<std::ptrdiff_t>(behind),
                      in_loss_.begin() + static_cast<std::ptrdiff_t>(t) + 1, true);
            return range(t).end;
        }
        mark(span.end, span.limit);
        return std::string::npos;
    }

  private:
    size_t size() const { return encoding_.ids.size(); }
    const TextRange& range(size_t t) const { return encoding_.ranges[t]; }
    bool is_special(size_t t) const { return tokenizer_.is_special(encoding_.ids[t]); }
    std::string_view text_of(size_t t) const {
        return std::string_view(text_).substr(range(t).begin, range(t).end - range(t).begin);
    }

    const Tokenizer& tokenizer_;
    const std::string& text_;
    const Encoding& encoding_;
    std::vector<char> in_loss_;
    size_t from_ = 0;  // every token before it ends before what is marked next
};

// Marks the template's own spans but for those of answers that are not wanted.
void mark_generation(const ChatTemplate& chat_template, Json& variables, const jinja::Rendering& rendering,
                     const Answers& answers, const HoldsSpecial& holds_special, Marker& marker) {
    std::vector<jinja::Span> spans = rendering.generation;
    std::ranges::sort(spans, {}, &jinja::Span::begin);
    if (answers.wanted.size() < answers.all.size()) {
        std::vector<size_t> unwanted;
        std::ranges::set_difference(answers.all, answers.wanted, std::back_inserter(unwanted));
        const auto places = find_answers(chat_template, variables, rendering.text, unwanted, holds_special);
        std::erase_if(spans, [&](const jinja::Span& span) {
            return std::ranges::any_of(places, [&](const AnswerSpan& answer) {
                if (answer.begin == answer.end) return span.begin <= answer.begin && answer.end <= span.end;
                return answer.begin < span.end && span.begin < answer.end;
            });
        });
    }
    for (const jinja::Span& span : spans) marker.mark(span.begin, span.end);
}

// Marks the answers and the ends of their turns. Returns whether the last turn still wants an end.
bool mark_answers(std::vector<AnswerSpan> spans, size_t n_messages, const std::string& text, Marker& marker) {
    if (spans.empty()) return false;
    const bool has_last = spans.back().message + 1 == n_messages;
    if (has_last) spans.back().limit = text.size();  // nobody else speaks behind it
    std::vector<AnswerSpan> endless;
    size_t end = 0;
    for (const AnswerSpan& span : spans) {
        end = marker.mark_turn(span);
        if (end == std::string::npos) endless.push_back(span);
    }
    if (!has_last) return false;
    // What the template writes behind the last answer may end the others, too.
    const AnswerSpan& last = spans.back();
    const std::string closing = text.substr(last.end, std::clamp(end, last.end, text.size()) - last.end);
    if (is_blank(closing)) return end == std::string::npos;
    marker.begin_anew();
    for (const AnswerSpan& span : endless)
        if (text.compare(span.end, closing.size(), closing) == 0) marker.mark(span.end, span.end + closing.size());
    return end == std::string::npos;
}

}  // namespace

Encoding ChatEncoder::tokenise(const std::string& text) const {
    Encoding encoding = tokenizer_.encode_with_ranges(text);
    const std::optional<int32_t> bos = tokenizer_.bos_id();
    const bool has_bos = !encoding.ids.empty() && encoding.ids.front() == bos;
    if (template_.is_layout() && tokenizer_.adds_bos() && bos && !has_bos) {
        encoding.ids.insert(encoding.ids.begin(), *bos);
        encoding.ranges.insert(encoding.ranges.begin(), {0, 0});
    }
    return encoding;
}

EncodedConversation ChatEncoder::encode(const Conversation& conversation) const {
    Json variables = template_.variables(conversation, /*add_generation_prompt=*/false);
    const jinja::Rendering rendering = template_.render(variables);
    const Answers answers = answers_of(variables["messages"], conversation.trained, loss_on_);
    Encoding encoding = tokenise(rendering.text);

    EncodedConversation encoded;
    encoded.unheard = template_.unheard(variables);
    for (const size_t place : answers.wanted) encoded.empty_answers += says_nothing(variables["messages"][place]);
    const HoldsSpecial holds_special = [this](std::string_view text) {
        return std::ranges::any_of(tokenizer_.encode(text), [this](int32_t id) { return tokenizer_.is_special(id); });
    };
    Marker marker(tokenizer_, rendering.text, encoding);
    if (template_.marks_generation(variables)) {
        mark_generation(template_, variables, rendering, answers, holds_special, marker);
    } else {
        const auto spans = find_answers(template_, variables, rendering.text, answers.wanted, holds_special);
        encoded.ends_in_eos = mark_answers(spans, variables["messages"].size(), rendering.text, marker);
    }
    encoded.in_loss = marker.take();
    if (!encoded.in_loss.empty()) encoded.in_loss.front() = false;
    encoded.ids = std::move(encoding.ids);
    if (encoded.ends_in_eos) {
        require(eos_id_ >= 0,
                "the model names no end-of-sequence token, so an answer would never end; set eos_token in "
                "tokenizer_config.json or eos_token_id in config.json");
        encoded.ids.push_back(eos_id_);
        encoded.in_loss.push_back(true);
    }
    return encoded;
}

std::vector<int32_t> ChatEncoder::encode_prompt(const Conversation& conversation) const {
    return tokenise(template_.render(template_.variables(conversation, /*add_generation_prompt=*/true)).text).ids;
}

std::vector<int32_t> ChatEncoder::end_tokens() const {
    const Json question = {{"role", "user"}, {"content", "Is it?"}},
               answer = {{"role", "assistant"}, {"content", "It is."}};
    std::vector<int32_t> ends;
    const auto add_ends = [&](const EncodedConversation& encoded) {
        for (size_t t = 0; t < encoded.ids.size(); ++t) {
            const bool is_last = encoded.in_loss[t] && (t + 1 == encoded.ids.size() || !encoded.in_loss[t + 1]);
            if (is_last && tokenizer_.is_special(encoded.ids[t])) ends.push_back(encoded.ids[t]);
        }
    };
    try {
        Conversation probe;
        probe.messages = Json::array({question, answer});
        const EncodedConversation once = encode(probe);
        add_ends(once);
        // Turns without an end of their own end where the next begins.
        probe.messages = Json::array({question, answer, question, answer});
        if (once.ends_in_eos) add_ends(encode(probe));
    } catch (const Error&) {
        ends.clear();  // it lays out other conversations
    }
    std::ranges::sort(ends);
    ends.erase(std::unique(ends.begin(), ends.end()), ends.end());
    return ends;
}

}  // namespace llmc
