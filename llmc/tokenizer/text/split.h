// What becomes of the matches when a text is cut at them, and of what lies between: the "behavior" of tokenizer.json.
#pragma once

#include <vector>

#include "llmc/tokenizer/regex/regex.h"

namespace llmc {

enum class SplitBehavior {
    removed,               // the matches are left out
    isolated,              // each is a piece of its own
    merged_with_previous,  // each ends the piece before it
    merged_with_next,      // each begins the piece behind it
    contiguous,            // neighbours of one kind are a piece
};

// Joins the spans that `behavior` wants in one piece and drops those it wants gone.
void join(std::vector<PatternSpan>& spans, SplitBehavior behavior);

}  // namespace llmc
