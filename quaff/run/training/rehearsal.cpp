#include "quaff/run/training/rehearsal.h"

#include <set>

#include "quaff/model/devices.h"

namespace quaff {

template <class Device>
void rehearse(Model<Device>& model, const StepPlan& steps, std::span<const Example> examples, int64_t step,
              const std::function<void()>& before_each) {
    if constexpr (Device::rehearses) {
        const Device& device = model.device();
        if (!wants_rehearsal(device)) return;
        const Sampler& sampler = steps.sampler;
        const int64_t epoch = sampler.window(step, steps.window).epoch;
        std::set<int64_t> rehearsed;
        for (int64_t i = 0; i < sampler.micro_batches_per_epoch() && step < steps.total_steps; ++i) {
            const std::vector<int64_t> indices = sampler.micro_batch(epoch, i);
            const int64_t n_tokens = batch_limits(examples, {&indices, 1}).max_tokens;
            if (!rehearsed.insert(size_class(device, n_tokens)).second) continue;
            before_each();
            model.rehearse(pack(examples, indices));
        }
        end_rehearsal(device);
    }
}

#define INSTANTIATE(Device)                                                                    \
    template void rehearse(Model<Device>&, const StepPlan&, std::span<const Example>, int64_t, \
                           const std::function<void()>&);
QUAFF_FOR_EACH_DEVICE(INSTANTIATE)

}  // namespace quaff
