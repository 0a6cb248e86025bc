#include "quaff/run/training/step.h"

#include <algorithm>
#include <cmath>

#include "llmc/core/error.h"
#include "quaff/model/devices.h"

namespace quaff {
namespace {

template <class Device>
[[noreturn]] void fail_nonfinite(Model<Device>& model, const char* what, double value) {
    const std::string where = model.find_nonfinite();
    fail("the ", what, " is ", value, where.empty() ? "" : "; the first tensor that is not finite is the " + where,
         ". ", kLowerLearningRate);
}

// model.gradients() = d (scale * sum of the share's losses / labelled) / d adapters. Returns the sum of the losses.
template <class Device>
double share_gradients(Model<Device>& model, const StepShare& share, double scale,
                       const std::function<void(int64_t)>& after_micro_batch) {
    const auto grad_scale = static_cast<float>(scale / static_cast<double>(share.labelled));
    double loss_sum = 0;
    model.zero_gradients();
    for (size_t i = 0; i < share.batches.size(); ++i) {
        model.forward(share.batches[i], grad_scale, share.numbers[i]);
        // All ranks must communicate in the same order: if others have one micro-batch more, its maxima come before
        // the gradients are summed.
        model.backward(share.batches[i], /*last=*/!share.follows && i + 1 == share.batches.size());
        const double loss = model.losses().loss;  // here the host waits for the device
        if (!std::isfinite(loss)) fail_nonfinite(model, "loss", loss);
        loss_sum += loss;
        after_micro_batch(static_cast<int64_t>(i + 1));
    }
    if (share.follows) model.follow();
    return loss_sum;
}

}  // namespace

StepShare share_of(const Window& window, const Sampler& sampler, std::span<const Example> examples,
                   uint64_t first_number, const Comm& comm) {
    StepShare share;
    const Totals totals = sampler.totals(window);
    share.tokens = totals.tokens;
    share.labelled = totals.labelled;
    for (const int64_t m : sampler.share(window, comm.rank(), comm.size())) {
        share.batches.push_back(pack(examples, sampler.micro_batch(window.epoch, m)));
        share.numbers.push_back(first_number + static_cast<uint64_t>(m - window.first));
    }
    const auto mine = std::ssize(share.batches);
    share.follows = mine * comm.size() < window.count;
    share.may_stop = comm.size() == 1 && mine > 1;
    return share;
}

template <class Device>
StepResult take_step(Model<Device>& model, const StepShare& share, const AdamWOptions& adamw, double max_grad_norm,
                     int64_t step, LossScale& scale, const StepCalls& calls) {
    StepResult result;
    result.loss_scale = scale.value;
    if (share.may_stop) model.keep_scales();
    double loss_sum = 0;
    try {
        loss_sum = share_gradients(model, share, scale.value, calls.after_micro_batch);
    } catch (const StoppedBySignal&) {
        if (share.may_stop) model.restore_scales();
        throw;
    }
    model.sum_gradients();
    result.loss = calls.sum_over_ranks(loss_sum) / static_cast<double>(share.labelled);

    result.grad_norm = model.gradient_norm() / scale.value;
    if (!std::isfinite(result.grad_norm)) {
        if (!scale.step_overflowed()) fail_nonfinite(model, "gradient norm", result.grad_norm);
        return result;
    }
    const double clip = max_grad_norm > 0 ? std::min(1.0, max_grad_norm / (result.grad_norm + 1e-6)) : 1.0;
    model.step(adamw, step - scale.skipped, static_cast<float>(clip / scale.value));
    scale.step_taken();
    return result;
}

#define INSTANTIATE(Device)                                                                                           \
    template StepResult take_step(Model<Device>&, const StepShare&, const AdamWOptions&, double, int64_t, LossScale&, \
                                  const StepCalls&);
QUAFF_FOR_EACH_DEVICE(INSTANTIATE)

}  // namespace quaff
