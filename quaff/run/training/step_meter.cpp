#include "quaff/run/training/step_meter.h"

#include <algorithm>

namespace quaff {

Peak sum_over_ranks(const Peak& own, Comm& comm) {
    double peaks[] = {own.int8_operations, own.float_operations, own.gradient_operations};
    comm.sum(peaks);
    return {peaks[0], peaks[1], peaks[2]};
}

void StepMeter::begin() {
    begin_ = std::chrono::steady_clock::now();
    traffic_ = comm_.traffic();
}

Work StepMeter::work_of(const StepShare& share) const {
    Work work;
    for (const Batch& batch : share.batches) work += work_.of(batch);
    return work;
}

StepFigures StepMeter::end(const StepShare& share, const Work& work, const StepResult& result) {
    const Traffic traffic = comm_.traffic();

    StepFigures figures;
    figures.loss = result.loss;
    figures.grad_norm = result.grad_norm;
    figures.loss_scale = result.loss_scale;
    figures.tokens = share.tokens;
    figures.labelled = share.labelled;
    figures.ranks = comm_.size();
    figures.communication = {traffic.bytes - traffic_.bytes, traffic.seconds - traffic_.seconds};
    figures.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
    figures.speed_of_light = work.seconds_at(peak_) / figures.seconds;

    steps_++;
    tokens_ += share.tokens;
    seconds_ += figures.seconds;
    longest_ = std::max(longest_, figures.seconds);
    return figures;
}

}  // namespace quaff
