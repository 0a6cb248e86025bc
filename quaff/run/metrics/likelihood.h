// How likely a model finds a text: the options of a question behind their prompt, and whole texts.
//
// A whole text is longer than a model's sequences, so it is read in windows of `length` tokens, each `stride` tokens
// further on than the one before. Every token is scored once, in the first window that reaches it, behind all tokens of
// that window before it. With stride = length, only one token of the window before is seen again, as in
// lm-evaluation-harness. The first token stands behind BOS, or EOS where the tokenizer has none; with neither it is not
// scored.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "llmc/data/choices.h"
#include "llmc/data/examples.h"
#include "llmc/data/sampler.h"
#include "quaff/model/model.h"

namespace quaff {

using namespace llmc;

// Tokens of a micro-batch: more at once are not faster and take more memory.
inline constexpr int64_t kEvaluationTokens = 4096;

// The options behind the prompt, one example each, labelled where an option stands. Options without a token are left
// out; `option` says which are there.
struct OptionExamples {
    std::vector<Example> examples;
    std::vector<size_t> option;
    std::vector<std::vector<int64_t>> batches;  // positions in `examples`, up to batch_size and kEvaluationTokens each
};
OptionExamples option_examples(std::span<const int32_t> prompt, const Choices& choices, const TextEncoding& encoding,
                               int64_t batch_size);

// log p of each option behind the prompt, divided by its bytes; minus infinity for one without a token.
template <class Device>
std::vector<double> option_likelihoods(Model<Device>& model, std::span<const int32_t> prompt, const Choices& choices,
                                       const TextEncoding& encoding, int64_t batch_size);

struct TextWindow {
    int64_t length = 0, stride = 0;  // tokens; 1 <= stride <= length
};

// Calls `take` with the micro-batches, one window each, that score every token of `ids` once. prefix: the id before the
// first, -1: none.
void for_each_window(std::span<const int32_t> ids, int32_t prefix, const TextWindow& window,
                     const std::function<void(const Batch& batch)>& take);

// The id that stands before a text; -1 if there is none.
int32_t prefix_of(const TextEncoding& encoding);

// log p of the whole text; `before_pass` is called before each window and may throw.
template <class Device>
double text_log_probability(Model<Device>& model, std::string_view text, const TextEncoding& encoding,
                            const TextWindow& window, const std::function<void()>& before_pass);

}  // namespace quaff
