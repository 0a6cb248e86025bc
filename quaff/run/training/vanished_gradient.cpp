#include "quaff/run/training/vanished_gradient.h"

#include <cmath>

#include "llmc/core/error.h"
#include "llmc/system/terminal.h"
#include "quaff/run/training/step.h"

namespace quaff {

void VanishedGradient::update(int64_t step, double loss, double grad_norm) {
    if (!std::isfinite(grad_norm)) return;  // skipped for an overflow: says nothing
    last_ = step;
    loss_ = loss;
    if (grad_norm != 0 || loss <= kLearnt) {
        came_back_ = came_back_ || (in_a_row_ > 0 && grad_norm != 0);
        in_a_row_ = 0;
    } else if (in_a_row_++ == 0) {
        first_ = step;
    }
}

std::string VanishedGradient::note() const {
    if (!is_zero()) return "";
    return concat("the gradient is exactly zero at a loss of ", format("%.4f", loss_),
                  ". No checkpoint is saved while it is; after ", kProof, " such steps in a row the run fails");
}

std::string VanishedGradient::verdict(const std::string& good) const {
    const std::string since = concat("step ", last_, ": the gradient has been exactly zero since step ", first_,
                                     ", at a loss of ", format("%.4f", loss_), ". ");
    if (first_ == 1) return since + "No adapter affects the loss; choose other --target-modules or other --data";
    return concat(since, "Training has destroyed the adapters. ", kLowerLearningRate,
                  good.empty()
                      ? "; there is no checkpoint from before"
                      : concat("; the last checkpoint from before is ", good, ", start from it with --adapter ", good));
}

std::string VanishedGradient::suspicion(const std::string& good) {
    return concat("the gradient was exactly zero when the run stopped; training may have destroyed the adapters. ",
                  good.empty() ? "There is no checkpoint from before" : "The last checkpoint from before is " + good);
}

}  // namespace quaff
