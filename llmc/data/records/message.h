// One message of a conversation, as OpenAI or as ShareGPT writes it, ready for a template.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "llmc/data/record.h"

namespace llmc {

struct ReadMessage {
    Json message;              // with "role" first of its names, and "content"; see llmc/chat/conversation.h
    std::optional<bool> mark;  // whether its fields ask for a loss, or for none

    bool is_answer() const;  // the assistant's
};

// `message` is consumed. `where`: "the field "messages": message 2", for errors.
ReadMessage read_message(Json& message, const std::string& where, ReadingNotes& notes);

// 0 or 1, false or true; throws Error for anything else. `name`: of the field or list that has it.
bool mark_value(const Json& value, const std::string& where, std::string_view name);

}  // namespace llmc
