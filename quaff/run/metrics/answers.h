// The model's own answer to an example.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "llmc/data/examples.h"
#include "quaff/model/model.h"
#include "quaff/run/examples.h"

namespace quaff {

// Tokens that an answer may be longer than the longest true one.
inline constexpr int64_t kAnswerRoom = 32;

// The tokens that the model is given, and those of the true answer, its end included.
struct Question {
    std::span<const int32_t> prompt, answer;
};

// The prompt is what comes before the first labelled token, and the answer goes on to the next one that is not. A pair
// may have earlier turns with labelled answers of their own: then its target, which is known, is the last of them.
Question question_of(const Example& example, const SourceTarget& text);

// Whether there is anything to answer. A text that is target from its beginning has no prompt, and neither have ids
// that carry a loss from the second on; the first never carries one.
bool has_prompt(const Example& example, const SourceTarget& text);

// What greedy decoding makes of the prompt, as text without special tokens, up to `max_new_tokens`.
template <class Device>
std::string answer(Model<Device>& model, std::span<const int32_t> prompt, int64_t max_new_tokens,
                   const ExampleReader& reader);

}  // namespace quaff
