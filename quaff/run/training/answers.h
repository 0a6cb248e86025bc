// The model's own answers to the first evaluation examples, shown before and after training.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <span>

#include "quaff/model/model.h"
#include "quaff/run/examples.h"
#include "quaff/run/training/training_data.h"

namespace quaff {

// The examples to answer: a few if answers are short enough to be compared as a whole, else none.
std::span<const Example> answered_examples(const TrainingData& data, const ExampleReader& reader);

// Raises the limits so that they have room for these answers.
void allow_for_answers(BatchLimits& limits, const TrainingData& data, const ExampleReader& reader,
                       const ModelConfig& config);

// The answers, a JSON array of texts.
template <class Device>
nlohmann::ordered_json answers(Model<Device>& model, const TrainingData& data, const ExampleReader& reader);

}  // namespace quaff
