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

// What comes before the last answer. Of a conversation, the answers of earlier turns are labelled, too.
std::span<const int32_t> prompt_of(const Example& example);

// Whether there is anything to answer. A text that is target from its beginning has no prompt, and neither have ids
// that carry a loss from the second on; the first never carries one.
bool has_prompt(const Example& example, const SourceTarget& text);

// The last labelled tokens in a row: the true answer, its end included.
std::span<const int32_t> last_answer_of(const Example& example);

// What greedy decoding makes of the prompt, as text without special tokens, up to `max_new_tokens`.
template <class Device>
std::string answer(Model<Device>& model, std::span<const int32_t> prompt, int64_t max_new_tokens,
                   const ExampleReader& reader);

}  // namespace quaff
