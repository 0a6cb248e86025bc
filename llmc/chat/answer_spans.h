// Where in the text of a conversation the assistant's messages stand.
//
// A template may write anything around a message, trim it, or leave parts of it out, and says nothing of this. So the
// conversation is rendered again with one answer replaced by other words, without its reasoning and its calls: what
// differs between the two texts is that answer. The other words are letters that the text has nowhere, so that nothing
// of them can be taken for a part of the answer.
//
// A template may refuse or change what follows an answer without its calls (a tool's result that nobody asked for).
// The answer then begins where it differs from a conversation that ends with it, and its end is that of its calls.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "llmc/chat/chat_template.h"

namespace llmc {

struct AnswerSpan {
    size_t message;            // its place in the list of messages
    size_t begin, end;         // bytes of the text
    bool stops_short = false;  // more of the answer stands between `end` and the next special token
};

// Whether a special token stands in a text.
using HoldsSpecial = std::function<bool(std::string_view text)>;

// The spans of the messages at `places`, which ascend; the spans ascend, too, and do not overlap. `variables` are those
// of `text`; they are changed meanwhile. Throws Error naming the message that cannot be placed.
std::vector<AnswerSpan> find_answers(const ChatTemplate& chat_template, Json& variables, const std::string& text,
                                     const std::vector<size_t>& places, const HoldsSpecial& holds_special);

}  // namespace llmc
