// How many words a text has, for its perplexity per word.
#pragma once

#include <cstdint>
#include <string_view>

namespace llmc {

// The pieces between runs of white space, as lm-evaluation-harness counts them: len(re.split(r"\s+", text)). White
// space at the beginning or the end of a text therefore adds an empty piece, and an empty text is one.
int64_t count_words(std::string_view text);

}  // namespace llmc
