// Notices a run that training has destroyed although every number is finite: adapters so large that the last norm
// divides everything by infinity. The loss is then ln(vocabulary), the gradient is exactly zero, and training changes
// nothing any more.
//
// One such step proves nothing. A gradient may rightly be zero:
//   - on tokens whose embedding is zero, as that of padding often is: all inputs of the adapters are zero
//   - with a lora_dropout near 1, which may drop all inputs of a small batch
//   - on data learnt by heart, whose labels have probability 1 in fp32; their loss is zero then, too
// Fresh adapters have a gradient: B = 0 makes dA zero, but not dB. In fp16 the loss scale keeps gradients above the
// smallest number. Norms are summed in fp64, where the square of the smallest fp32 number is not zero.
#pragma once

#include <cstdint>
#include <string>

namespace quaff {

class VanishedGradient {
  public:
    static constexpr double kLearnt = 1e-3;  // a loss this small may have no gradient
    static constexpr int64_t kProof = 3;     // steps in a row that prove it

    // After every step; a grad_norm that is not finite, of a step that was skipped, changes nothing.
    void update(int64_t step, double loss, double grad_norm);

    bool is_zero() const { return in_a_row_ > 0; }          // at the last step
    bool is_proven() const { return in_a_row_ >= kProof; }  // to stay zero
    // Zero at the last step, and never yet did it come back from zero.
    bool is_suspect() const { return is_zero() && !came_back_; }
    int64_t first() const { return first_; }  // of the steps in a row

    // The warning for the last step if its gradient is zero, else "".
    std::string note() const;
    // The error message of the run. The update before step first() did the damage, so `good` is the newest checkpoint
    // of fewer than first() - 1 steps, or "".
    std::string verdict(const std::string& good) const;
    // The warning for a run that is stopped while is_suspect(). `good`: as above.
    static std::string suspicion(const std::string& good);

  private:
    int64_t in_a_row_ = 0, first_ = 0, last_ = 0;
    double loss_ = 0;  // of the last step
    bool came_back_ = false;
};

}  // namespace quaff
