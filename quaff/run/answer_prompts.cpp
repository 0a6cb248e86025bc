#include "quaff/run/answer_prompts.h"

#include <algorithm>

#include "llmc/core/error.h"
#include "llmc/io/text_input.h"
#include "quaff/model/devices.h"
#include "quaff/run/generate.h"
#include "quaff/run/memory_room.h"

namespace quaff {
namespace {

std::vector<Prompt> read_texts(const GenerationOptions& options) {
    if (options.prompt_file.empty()) return {{options.prompt, "--prompt", {}}};
    std::vector<Prompt> prompts;
    int64_t line = 0;
    for (const std::string& text : read_lines(options.prompt_file)) {
        ++line;
        if (text.find_first_not_of(" \t") != text.npos)
            prompts.push_back({text, concat(options.prompt_file, ":", line), {}});
    }
    require(!prompts.empty(), options.prompt_file, ": holds no prompt, every line is blank");
    return prompts;
}

std::vector<int32_t> encode(const ExampleReader& reader, const Prompt& prompt) {
    try {
        return reader.encode_prompt(prompt.text);
    } catch (const Error& error) {
        fail(prompt.where, ": ", error.what());
    }
}

// A prompt goes through the model as a whole. Only its last position needs logits.
BatchLimits limits_of(const Options& options, const ModelConfig& config, const std::vector<Prompt>& prompts) {
    BatchLimits limits;
    for (const Prompt& prompt : prompts) limits.max_tokens = std::max(limits.max_tokens, std::ssize(prompt.ids));
    allow_for_text(limits, config, limits.max_tokens + options.generation.max_new_tokens);
    limits.max_labelled = 1;
    return limits;
}

FinishReason finish_reason_of(int64_t prompt, int64_t made, int64_t max_new_tokens, int64_t positions) {
    if (made >= max_new_tokens) return FinishReason::length;
    return positions > 0 && prompt + made >= positions ? FinishReason::positions : FinishReason::stop;
}

void tell_cut(const std::vector<Continuation>& answers, int64_t positions, Terminal& terminal) {
    const int64_t cut = std::ranges::count(answers, FinishReason::positions, &Continuation::finish_reason);
    if (cut > 0)
        terminal.warn(concat(counted(cut, "answer"), cut == 1 ? " ends" : " end",
                             " before --max-new-tokens: with the prompt, all ", positions,
                             " positions of the model are taken"));
}

}  // namespace

std::vector<Prompt> read_prompts(const Options& options, const ModelConfig& config, const ExampleReader& reader) {
    require(reader.tokenizer() != nullptr, options.model.folder,
            ": has neither tokenizer.json nor tokenizer.model; text needs a tokenizer");
    std::vector<Prompt> prompts = read_texts(options.generation);
    const int64_t positions = config.max_position_embeddings;
    for (Prompt& prompt : prompts) {
        prompt.ids = encode(reader, prompt);
        const int64_t length = std::ssize(prompt.ids);
        require(length > 0, prompt.where,
                ": the prompt is empty, and this tokenizer adds no token to begin with; give some text");
        require(length < positions || positions == 0, prompt.where, ": the prompt has ", counted(length, "token"),
                ", but the model has only ", positions, " positions for it and its answer; shorten it");
    }
    return prompts;
}

template <class Device>
std::vector<Continuation> answer_prompts(const Options& options, const ModelFiles& files, const Device& device,
                                         const ExampleReader& reader, const std::vector<Prompt>& prompts,
                                         Terminal& terminal, const Progress& progress,
                                         const std::function<bool(const std::string& piece)>& show) {
    StartingPoint start = starting_point(options, files, options.model.adapter, terminal);
    find_outlier_channels(start, options, files, device, reader, {}, terminal, progress);
    const auto model = build_model(files, device, start,
                                   build_options(options, start, limits_of(options, files.config(), prompts),
                                                 /*training=*/false, device.available_memory()));
    terminal.clear_status();
    const SamplingOptions sampling{options.generation.temperature, options.generation.top_k, options.generation.top_p,
                                   static_cast<uint64_t>(options.compute.seed)};
    const std::vector<int32_t>& end = reader.end_tokens();
    const int64_t positions = files.config().max_position_embeddings;
    std::vector<Continuation> answers;
    for (size_t i = 0; i < prompts.size(); ++i) {
        TextStream stream(*reader.tokenizer(), /*skip_special=*/true);
        Continuation answer;
        bool wanted = true;
        const auto add = [&](const std::string& piece) {
            answer.text += piece;
            wanted = show(piece);
            return wanted;
        };
        answer.ids = generate(*model, prompts[i].ids, options.generation.max_new_tokens, end, sampling, i,
                              [&](int32_t id) { return add(stream.push(id)); });
        if (!wanted) break;
        add(stream.finish());
        show("\n");
        answer.finish_reason = finish_reason_of(std::ssize(prompts[i].ids), std::ssize(answer.ids),
                                                options.generation.max_new_tokens, positions);
        answers.push_back(std::move(answer));
    }
    tell_cut(answers, positions, terminal);
    return answers;
}

#define INSTANTIATE(Device)                                                                                            \
    template std::vector<Continuation> answer_prompts(                                                                 \
        const Options&, const ModelFiles&, const Device&, const ExampleReader&, const std::vector<Prompt>&, Terminal&, \
        const Progress&, const std::function<bool(const std::string&)>&);
QUAFF_FOR_EACH_DEVICE(INSTANTIATE)

}  // namespace quaff
