// A conversation that stands in one text, its turns behind marks such as "\n\nHuman: ".
#pragma once

#include <string_view>

#include "llmc/data/field.h"

namespace llmc {

// What stands before each side's words.
struct DialogueMarks {
    std::string_view user, assistant;
};

// A list of messages with role and content, without white space at the ends of each. The first mark begins the text,
// though white space may stand before it. Words of the user behind the last answer are left out: nobody answers them.
// Throws Error, without naming the place, when the text does not begin with a mark or no answer is in it.
Json messages_of(std::string_view text, const DialogueMarks& marks);

}  // namespace llmc
