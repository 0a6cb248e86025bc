// A conversation as a chat template is given it.
#pragma once

#include <vector>

#include "llmc/io/ordered_json.h"

namespace llmc {

// What a row of data says, ready for a template. Its fields stand in the order of the file, for a template may write
// them out.
struct Conversation {
    // A list of objects, each with every field of the file, but for two changes. The role and what is said stand under
    // the names "role" and "content", and roles have their usual names (human: user, gpt: assistant). Fields that are
    // null are left out.
    Json messages;
    Json tools;               // a list, which may be empty; null: it does not say
    Json template_arguments;  // an object of further variables (chat_template_kwargs); null: none

    // By message: 0 if it must never be in the loss (weight 0, train false, ..). Empty: every message may be.
    std::vector<char> trained;
    bool is_marked = false;  // a field of the data itself keeps a message out of the loss
};

}  // namespace llmc
