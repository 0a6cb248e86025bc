#include "quaff/run/training/answers.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "quaff/model/devices.h"
#include "quaff/run/memory_room.h"
#include "quaff/run/metrics/answers.h"

namespace quaff {
namespace {

constexpr int64_t kAnswers = 3;

}  // namespace

std::span<const Example> answered_examples(const TrainingData& data, const ExampleReader& reader) {
    if (!data.task.has(Metric::exact_match) || !reader.tokenizer()) return {};
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
    const auto count = answered_examples(data, reader).size();
    for (size_t i = 0; i < count; ++i) {
        const Question question = question_of(data.eval.examples[i], data.eval.texts[i]);
        texts.push_back(answer(model, question.prompt, std::ssize(question.answer) + kAnswerRoom, reader));
    }
    return texts;
}

#define INSTANTIATE(Device) \
    template nlohmann::ordered_json answers(Model<Device>&, const TrainingData&, const ExampleReader&);
QUAFF_FOR_EACH_DEVICE(INSTANTIATE)

}  // namespace quaff
