// Continues prompts: --prompt, or each line of --prompt-file.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "quaff/run/starting_point.h"

namespace quaff {

struct Prompt {
    std::string text, where;   // where: for messages, the option or file:line
    std::vector<int32_t> ids;  // of the text as the chat template lays it out
};

// Why a text ended: the model ended it, --max-new-tokens was reached, or the model has no further positions.
enum class FinishReason { stop, length, positions };

inline constexpr llmc::Named<FinishReason> kFinishReasonNames[] = {
    {"stop", FinishReason::stop}, {"length", FinishReason::length}, {"positions", FinishReason::positions}};

struct Continuation {
    std::string text;
    std::vector<int32_t> ids;  // without the end token
    FinishReason finish_reason = FinishReason::stop;
};

// The prompts of the options; blank lines of a file are skipped. Throws Error when a prompt has no tokens or leaves no
// position for an answer, naming the prompt, and when the model has no tokenizer.
std::vector<Prompt> read_prompts(const Options& options, const ModelConfig& config, const ExampleReader& reader);

// Builds the model and continues one prompt after the other. `show` gets each text piece by piece as it grows, then a
// line end. When it returns false, generation ends, and the result lacks that text and those after it.
template <class Device>
std::vector<Continuation> answer_prompts(const Options& options, const ModelFiles& files, const Device& device,
                                         const ExampleReader& reader, const std::vector<Prompt>& prompts,
                                         Terminal& terminal, const Progress& progress,
                                         const std::function<bool(const std::string& piece)>& show);

}  // namespace quaff
