// Notices a run that training has destroyed although every number is finite: adapters so large that the last norm
// divides everything by infinity. The loss is then ln(vocabulary), the gradient exactly zero, and nothing moves again.
//
// One such step is no proof, for it can be right:
//   - examples of tokens whose embedding is zero, as that of padding often is: all inputs of the adapters are zero
//   - lora_dropout near 1, which may drop all inputs of a small batch
//   - a set learnt by heart, to which the softmax gives probability 1 in fp32; its loss is zero then, too
// Fresh adapters are no such case: B = 0 makes dA zero, not dB. Nor is fp16: the loss scale keeps gradients above its
// smallest number. Norms are summed in fp64, where the square of the smallest fp32 number is not zero.
#pragma once

#include <cstdint>
#include <string>

namespace quaff {

class VanishedGradient {
  public:
    static constexpr double kLearnt = 1e-3;  // a loss of up to that much may have no gradient
    static constexpr int64_t kProof = 3;     // steps in a row that prove it

    void update(int64_t step, double loss, double grad_norm);

    bool is_zero() const { return in_a_row_ > 0; }          // at the last step
    bool is_proven() const { return in_a_row_ >= kProof; }  // to be zero for good
    // At the last step, and never before did a gradient come back from zero.
    bool is_suspect() const { return is_zero() && !came_back_; }
    int64_t first() const { return first_; }  // of the steps in a row

    // What to note at a step where it is zero, else "".
    std::string note() const;
    // The error message of the run. `good`: the newest checkpoint of fewer than first() - 1 steps, or "": the update
    // before the first such step has done the damage.
    std::string verdict(const std::string& good) const;

  private:
    int64_t in_a_row_ = 0, first_ = 0, last_ = 0;
    double loss_ = 0;  // of the last step
    bool had_gradient_ = false, came_back_ = false;
};

}  // namespace quaff
