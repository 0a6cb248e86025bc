// Where in the text of a conversation the assistant's messages stand.
//
// A template may write anything around a message, trim it, or leave parts of it out, and says nothing of this. So the
// conversation is rendered again with one answer replaced by other words, without its reasoning and its calls: what
// differs between the two texts is that answer. The other words are letters that the text has nowhere, so that nothing
// of them can be taken for a part of the answer.
//
// A template may refuse or change what follows an answer without its calls (a tool's result that nobody asked for).
// Then the answer begins where it differs from other words that end the conversation, and its end lies between the last
// difference that other arguments of its calls make and the end of a conversation that stops here.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "llmc/chat/chat_template.h"

namespace llmc {

struct AnswerSpan {
    size_t message;     // its place in the list of messages
    size_t begin, end;  // bytes of the text
    size_t limit;       // the template's own words may follow up to here, where its turn has ended; else `end`
};

// Whether a special token stands in a text.
using HoldsSpecial = std::function<bool(std::string_view text)>;

// The spans of the messages at `places`, which ascend; the spans ascend, too, and do not overlap. `variables` are those
// of `text`; they are changed meanwhile. Throws Error naming the message that cannot be placed.
std::vector<AnswerSpan> find_answers(const ChatTemplate& chat_template, Json& variables, const std::string& text,
                                     const std::vector<size_t>& places, const HoldsSpecial& holds_special);

}  // namespace llmc
