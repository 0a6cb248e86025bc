#include "quaff/run/evaluate.h"

#include "quaff/model/devices.h"

namespace quaff {
namespace {

// Sequences of the batch whose labelled rows are all right. Rows are ascending, so each sequence's lie together.
int64_t count_exact(const Batch& batch, std::span<const uint8_t> correct_rows) {
    int64_t exact = 0;
    size_t row = 0;
    for (size_t s = 0; s + 1 < batch.cu_seqlens.size(); ++s) {
        bool all = true;
        for (; row < batch.label_rows.size() && batch.label_rows[row] < batch.cu_seqlens[s + 1]; ++row)
            all = all && correct_rows[row];
        exact += all;
    }
    return exact;
}

}  // namespace

template <class Device>
Evaluation evaluate(Model<Device>& model, const Dataset& data, const std::vector<std::vector<int64_t>>& batches,
                    bool exact_match, const std::function<void(int64_t, int64_t)>& progress) {
    Evaluation evaluation;
    int64_t exact = 0;
    for (size_t i = 0; i < batches.size(); ++i) {
        if (!is_mine(model.comm(), static_cast<int64_t>(i))) continue;
        progress(static_cast<int64_t>(i), static_cast<int64_t>(batches.size()));
        const Batch batch = pack(data.examples, batches[i]);
        const LossSums sums = model.evaluate(batch);
        evaluation.loss_sum += sums.loss;
        evaluation.labelled += sums.labelled;
        evaluation.correct += sums.correct;
        evaluation.examples += batch.n_sequences();
        if (exact_match) exact += count_exact(batch, sums.correct_rows);
    }
    model.comm().sum(std::span(&evaluation.loss_sum, 1));
    int64_t counts[] = {evaluation.labelled, evaluation.correct, evaluation.examples, exact};
    model.comm().sum(counts);
    evaluation.labelled = counts[0];
    evaluation.correct = counts[1];
    evaluation.examples = counts[2];
    if (exact_match) evaluation.exact = counts[3];
    return evaluation;
}

#define INSTANTIATE(Device)                                                                                      \
    template Evaluation evaluate(Model<Device>&, const Dataset&, const std::vector<std::vector<int64_t>>&, bool, \
                                 const std::function<void(int64_t, int64_t)>&);
QUAFF_FOR_EACH_DEVICE(INSTANTIATE)

}  // namespace quaff
