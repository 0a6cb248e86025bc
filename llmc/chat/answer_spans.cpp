#include "llmc/chat/answer_spans.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <utility>

#include "llmc/core/error.h"

namespace llmc {
namespace {

// Letters of the Yi script, U+A000 to U+A3FF: three bytes each in UTF-8, no blanks, neither upper nor lower case.
std::string yi_letter(int index) {
    const int code = 0xA000 + index;
    return {static_cast<char>(0xE0 | code >> 12), static_cast<char>(0x80 | (code >> 6 & 0x3F)),
            static_cast<char>(0x80 | (code & 0x3F))};
}

// Words with a letter that the text does not have.
std::string other_words(const std::string& text) {
    for (int i = 0; i < 0x400; ++i)
        if (const std::string letter = yi_letter(i); text.find(letter) == text.npos) return letter + letter + letter;
    fail("it has every letter of the Yi script, and one is needed to find the answers");
}

bool continues_character(char byte) {
    return (static_cast<unsigned char>(byte) & 0xC0) == 0x80;
}

// What differs between two texts, in whole characters: a[begin, a_end) and b[begin, b_end).
struct Difference {
    size_t begin, a_end, b_end;
};

Difference difference(std::string_view a, std::string_view b) {
    const size_t shorter = std::min(a.size(), b.size());
    size_t begin = static_cast<size_t>(std::ranges::mismatch(a, b).in1 - a.begin());
    while (begin > 0 && begin < a.size() && continues_character(a[begin])) --begin;
    size_t same = 0;  // bytes at the end
    while (same < shorter - begin && a[a.size() - 1 - same] == b[b.size() - 1 - same]) ++same;
    while (same > 0 && continues_character(a[a.size() - same])) --same;
    return {begin, a.size() - same, b.size() - same};
}

int count(std::string_view text, std::string_view part) {
    int n = 0;
    for (size_t at = 0; (at = text.find(part, at)) != text.npos; at += part.size()) ++n;
    return n;
}

bool has_calls(const Json& message) {
    const auto calls = message.find("tool_calls");
    return calls != message.end() && !calls->empty();
}

void erase_fields(Json& message, std::initializer_list<const char*> names) {
    for (const char* name : names) message.erase(name);
}

// The message with `words` in place of what it says, of the same kind: a text, or a list of parts.
Json saying(Json message, const std::string& words) {
    erase_fields(message, {"reasoning_content", "thinking", "reasoning", "tool_calls", "function_call"});
    const auto content = message.find("content");
    const bool is_list = content != message.end() && content->is_array();
    message["content"] = is_list ? Json::array({Json{{"type", "text"}, {"text", words}}}) : Json(words);
    return message;
}

// The message with other words and, in its calls, other arguments.
Json calling(const Json& message, const std::string& words) {
    Json changed = saying(message, words);
    Json calls = message.at("tool_calls");
    for (Json& call : calls) {
        if (!call.is_object()) continue;
        Json& inner = call.contains("function") && call["function"].is_object() ? call["function"] : call;
        if (!inner.contains("arguments")) continue;
        const bool is_text = inner["arguments"].is_string();
        inner["arguments"] = is_text ? Json(words) : Json{{words, words}};
    }
    changed["tool_calls"] = std::move(calls);
    if (!message.contains("content")) changed.erase("content");
    return changed;
}

class AnswerFinder {
  public:
    AnswerFinder(const ChatTemplate& chat_template, Json& variables, const std::string& text,
                 const HoldsSpecial& holds_special)
        : chat_template_(chat_template),
          variables_(variables),
          text_(text),
          words_(other_words(text)),
          holds_special_(holds_special) {}

    AnswerSpan find(size_t place) {
        const Json& message = variables_["messages"][place];
        const std::string replaced = render_with(place, saying(message, words_));
        if (const auto span = replaced.empty() ? std::nullopt : span_of(place, replaced)) return *span;
        require(has_calls(message), problem_);
        return span_of_calls(place);
    }

  private:
    // The text with another message in this place, and the first `n` messages only; "" if the template refuses it.
    std::string render_with(size_t place, Json message, size_t n = std::string::npos) {
        auto& messages = variables_["messages"].get_ref<Json::array_t&>();
        const auto kept = messages.begin() + static_cast<std::ptrdiff_t>(std::min(n, messages.size()));
        Json::array_t rest(std::make_move_iterator(kept), std::make_move_iterator(messages.end()));
        messages.erase(kept, messages.end());
        std::swap(messages[place], message);
        std::string text;
        try {
            text = chat_template_.render(variables_).text;
        } catch (const Error& error) {
            problem_ = concat("with other words in its place, the template refuses the conversation: ", error.what());
        }
        std::swap(messages[place], message);
        std::ranges::move(rest, std::back_inserter(messages));
        return text;
    }

    // Nothing if what differs is more than the answer.
    std::optional<AnswerSpan> span_of(size_t place, const std::string& replaced) {
        const int n = count(replaced, words_);
        const Difference found = difference(text_, replaced);
        if (n != 1) {
            problem_ = n == 0 ? "the template does not write what it says" : "the template writes it more than once";
            return std::nullopt;
        }
        const size_t at = replaced.find(words_);
        const std::string_view all = replaced;
        const std::string_view before = all.substr(found.begin, at - found.begin);
        const size_t behind_words = at + words_.size();
        const std::string_view behind = all.substr(behind_words, found.b_end - behind_words);
        if (holds_special_(behind) || (!behind.empty() && has_calls(variables_["messages"][place]))) {
            problem_ = "the template's text behind it depends on it";
            return std::nullopt;
        }
        if (holds_special_(before) && begins_too_early(place, found.begin)) {
            problem_ = "the template's text before the message in front of it depends on it";
            return std::nullopt;
        }
        return AnswerSpan{place, found.begin, found.a_end, found.a_end};
    }

    // Whether `begin` lies before or in the message in front.
    bool begins_too_early(size_t place, size_t begin) {
        if (place == 0) return false;
        const std::string replaced = render_with(place - 1, saying(variables_["messages"][place - 1], words_));
        return !replaced.empty() && begin < difference(text_, replaced).a_end;
    }

    AnswerSpan span_of_calls(size_t place) {
        const Json message = variables_["messages"][place];
        const std::string ends_in_words = render_with(place, saying(message, words_), place + 1);
        const std::string ends_here = render_with(place, message, place + 1);
        const std::string other_calls = render_with(place, calling(message, words_));
        require(!ends_in_words.empty() && !other_calls.empty(), problem_);
        const size_t begin = difference(text_, ends_in_words).begin;
        const size_t end = difference(text_, other_calls).a_end;
        require(other_calls.find(words_) != other_calls.npos && begin <= end,
                "the template's text behind its calls depends on them");
        return {place, begin, end, std::max(end, difference(text_, ends_here).begin)};
    }

    const ChatTemplate& chat_template_;
    Json& variables_;
    const std::string& text_;
    const std::string words_;
    const HoldsSpecial& holds_special_;
    std::string problem_;
};

}  // namespace

std::vector<AnswerSpan> find_answers(const ChatTemplate& chat_template, Json& variables, const std::string& text,
                                     const std::vector<size_t>& places, const HoldsSpecial& holds_special) {
    std::vector<AnswerSpan> spans;
    if (places.empty()) return spans;
    // Every answer is found in a text of its own.
    constexpr size_t kMostBytes = size_t{1} << 32;
    require(text.size() < kMostBytes / places.size(), "the conversation has ", places.size(), " answers in ",
            text.size(), " bytes, too many to find each of them in it; cut it into several");
    AnswerFinder finder(chat_template, variables, text, holds_special);
    for (const size_t place : places) {
        try {
            const AnswerSpan span = finder.find(place);
            require(spans.empty() || spans.back().end <= span.begin,
                    "the template writes it before or in an earlier answer");
            spans.push_back(span);
        } catch (const Error& error) {
            fail("where message ", place + 1, " stands in the template's text cannot be told: ", error.what(),
                 "; mark what the assistant says in the template with {% generation %}, or choose another template");
        }
    }
    return spans;
}

}  // namespace llmc
