// What Model::divergence_from() must give, from the logits of both models and the definition. For the tests of every
// device.
#pragma once

#include "test/quaff/golden.h"

namespace golden {

// The first sequences of a golden case, repeated until more than one chunk of the head's rows is labelled.
inline Batch many_labels(const json& batch) {
    const size_t sequences = batch["cu_seqlens"].size() - 1;
    std::vector<size_t> order;
    const int64_t once = make_batch(batch).n_labelled();
    for (int64_t labelled = 0; labelled <= 1024; labelled += once)
        for (size_t s = 0; s < sequences; s++) order.push_back(s);
    return make_batch(batch, order);
}

inline BuildOptions with_room_for(BuildOptions options, const Batch& batch) {
    options.training = false;
    options.max_tokens = batch.n_tokens();
    options.max_sequence_length = batch.max_sequence_length();
    options.max_labelled = batch.n_labelled();
    return options;
}

// log softmax(logits)
inline std::vector<double> log_probabilities(std::span<const float> logits) {
    double total = 0;
    for (const float logit : logits) total += std::exp(static_cast<double>(logit));
    std::vector<double> logs;
    for (const float logit : logits) logs.push_back(static_cast<double>(logit) - std::log(total));
    return logs;
}

// The sum over the labelled rows of KL(p_reference || p_model), in double.
template <class Device>
double expected_divergence(quaff::Model<Device>& reference, quaff::Model<Device>& model, const Batch& batch) {
    const auto size = static_cast<size_t>(model.config().vocab_size);
    const std::vector<float> p_logits = reference.logits(batch), q_logits = model.logits(batch);
    double sum = 0;
    for (const int32_t row : batch.label_rows) {
        const size_t begin = static_cast<size_t>(row) * size;
        const std::vector<double> p = log_probabilities(std::span(p_logits).subspan(begin, size));
        const std::vector<double> q = log_probabilities(std::span(q_logits).subspan(begin, size));
        for (size_t v = 0; v < size; v++) sum += std::exp(p[v]) * (p[v] - q[v]);
    }
    return sum;
}

}  // namespace golden
