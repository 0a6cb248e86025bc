#include "quaff/run/evaluate.h"

#include <cmath>
#include <numeric>
#include <span>

#include "llmc/core/error.h"
#include "quaff/model/devices.h"

namespace quaff {
namespace {

// is_exact[positions[s]] = 1 for the sequences s of the batch whose labelled rows are all right. Rows are ascending, so
// each sequence's lie together.
void mark_exact(std::vector<int64_t>& is_exact, std::span<const int64_t> positions, const Batch& batch,
                std::span<const uint8_t> correct_rows) {
    size_t row = 0;
    for (size_t s = 0; s + 1 < batch.cu_seqlens.size(); ++s) {
        bool all = true;
        for (; row < batch.label_rows.size() && batch.label_rows[row] < batch.cu_seqlens[s + 1]; ++row)
            all = all && correct_rows[row];
        is_exact[static_cast<size_t>(positions[s])] = all;
    }
}

// Throws Error naming the first example of the batch whose own loss is not finite, and the first such value.
template <class Device>
[[noreturn]] void fail_nonfinite(Model<Device>& model, const Dataset& data, std::span<const int64_t> positions) {
    for (const int64_t position : positions) {
        const Batch alone = pack(data.examples, std::span(&position, 1));
        const double loss = model.evaluate(alone).loss;
        if (std::isfinite(loss)) continue;
        const std::string where = model.find_nonfinite(alone);
        fail(data.place(position), ": the loss is ", loss,
             where.empty() ? "" : "; the first value that is not finite is in " + where,
             ". The weights of the model or of its adapter are too large or damaged; try another checkpoint");
    }
    fail("the loss of the examples from ", data.place(positions.front()), " to ", data.place(positions.back()),
         " together is not finite, though each has a finite loss of its own; try a smaller --batch-size");
}

}  // namespace

template <class Device>
Evaluation evaluate(Model<Device>& model, const Dataset& data, const std::vector<std::vector<int64_t>>& batches,
                    bool exact_match, const std::function<void(int64_t, int64_t)>& progress, Model<Device>* reference) {
    Evaluation evaluation;
    double divergence = 0;
    if (exact_match) evaluation.is_exact.assign(data.examples.size(), 0);
    for (size_t i = 0; i < batches.size(); ++i) {
        if (!is_mine(model.comm(), static_cast<int64_t>(i))) continue;
        progress(static_cast<int64_t>(i), static_cast<int64_t>(batches.size()));
        const Batch batch = pack(data.examples, batches[i]);
        const LossSums sums = model.evaluate(batch);
        if (!std::isfinite(sums.loss)) fail_nonfinite(model, data, batches[i]);
        if (reference) {
            if (!std::isfinite(reference->evaluate(batch).loss)) fail_nonfinite(*reference, data, batches[i]);
            divergence += model.divergence_from(*reference);
        }
        evaluation.loss_sum += sums.loss;
        evaluation.labelled += sums.labelled;
        evaluation.correct += sums.correct;
        evaluation.examples += batch.n_sequences();
        if (exact_match) mark_exact(evaluation.is_exact, batches[i], batch, sums.correct_rows);
    }
    model.comm().sum(std::span(&evaluation.loss_sum, 1));
    if (reference) {
        model.comm().sum(std::span(&divergence, 1));
        evaluation.divergence_sum = divergence;
    }
    int64_t counts[] = {evaluation.labelled, evaluation.correct, evaluation.examples};
    model.comm().sum(counts);
    evaluation.labelled = counts[0];
    evaluation.correct = counts[1];
    evaluation.examples = counts[2];
    model.comm().sum(evaluation.is_exact);
    if (exact_match) evaluation.exact = std::reduce(evaluation.is_exact.begin(), evaluation.is_exact.end());
    return evaluation;
}

#define INSTANTIATE(Device)                                                                                      \
    template Evaluation evaluate(Model<Device>&, const Dataset&, const std::vector<std::vector<int64_t>>&, bool, \
                                 const std::function<void(int64_t, int64_t)>&, Model<Device>*);
QUAFF_FOR_EACH_DEVICE(INSTANTIATE)

}  // namespace quaff
