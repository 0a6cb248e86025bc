#include "quaff/run/training/answers.h"

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <vector>

#include "quaff/model/devices.h"
#include "quaff/run/generate.h"
#include "quaff/run/memory_room.h"

namespace quaff {
namespace {

constexpr int64_t kAnswers = 3;
constexpr int64_t kAnswerRoom = 32;  // tokens that an answer may be longer than the true one

// What comes before the last answer: of earlier turns, the answers are labelled, too.
std::vector<int32_t> prompt_of(const Example& example) {
    const auto is_labelled = [](int32_t label) { return label != kIgnoreLabel; };
    const auto end = std::find_if(example.labels.rbegin(), example.labels.rend(), is_labelled);
    const auto begin = std::find_if_not(end, example.labels.rend(), is_labelled);
    return {example.input_ids.begin(), example.input_ids.begin() + (example.labels.rend() - begin)};
}

}  // namespace

std::span<const Example> answered_examples(const TrainingData& data, const ExampleReader& reader) {
    if (!data.exact_match || !reader.tokenizer()) return {};
    return std::span(data.eval.examples).first(static_cast<size_t>(std::min(kAnswers, data.eval.size())));
}

void allow_for_answers(BatchLimits& limits, const TrainingData& data, const ExampleReader& reader,
                       const ModelConfig& config) {
    for (const Example& example : answered_examples(data, reader))
        allow_for_text(limits, config, std::ssize(example.input_ids) + kAnswerRoom);
}

template <class Device>
nlohmann::ordered_json answers(Model<Device>& model, const TrainingData& data, const ExampleReader& reader) {
    nlohmann::ordered_json texts = nlohmann::ordered_json::array();
    const std::vector<int32_t> end = reader.end_tokens();
    for (const Example& example : answered_examples(data, reader)) {
        const std::vector<int32_t> made = generate(model, prompt_of(example), count_labelled(example) + kAnswerRoom,
                                                   end, {}, 0, [](int32_t) { return true; });
        texts.push_back(reader.tokenizer()->decode(made, /*skip_special=*/true));
    }
    return texts;
}

#define INSTANTIATE(Device) \
    template nlohmann::ordered_json answers(Model<Device>&, const TrainingData&, const ExampleReader&);
QUAFF_FOR_EACH_DEVICE(INSTANTIATE)

}  // namespace quaff
