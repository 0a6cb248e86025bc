// The least time a training step can take: the operations it has to do at the peak this machine was measured at.
//
//   frozen linears, P weights, n tokens     2 P n forward + 2 P n for dX (+ 2 P n where the block is recomputed)
//   attention, p pairs of tokens            4 p H D forward, 10 p H D backward (scores again, dV, dP, dQ, dK)
//   head, V x C, l labelled tokens          2 V C l forward, 2 V C l backward
//   adapters, R rank rows                   2 R (I + O) n forward, 4 R (I + O) n backward
//   outlier columns, c of a layer           2 c O n forward
//
// The frozen linears run at the int8 peak (with --grad-bits 16 their backward at the compute type's), all else at the
// compute type's, beside a backward pass in int8 at that of for_gradients(). No gradient is computed below the lowest
// adapter: with all linears adapted, the lowest block's qkv_proj has no dX.
#pragma once

#include <cstdint>
#include <map>

#include "llmc/core/peak.h"
#include "llmc/data/batch.h"
#include "quaff/model/model.h"

namespace quaff {

struct Work {
    double int8_operations = 0;
    double float_operations = 0;
    double gradient_operations = 0;  // floats beside a backward pass in int8, which may be of another type

    void operator+=(const Work& other) {
        int8_operations += other.int8_operations;
        float_operations += other.float_operations;
        gradient_operations += other.gradient_operations;
    }
    // The least time it takes; 0 where no peak is known.
    double seconds_at(const Peak& peak) const;
};

// The work of a micro-batch, for a model of this shape. All but the batch is fixed when a run starts.
class WorkModel {
  public:
    WorkModel(const ModelConfig& config, const BuildOptions& options, const OutlierChannels& outliers,
              int64_t n_recomputed);

    Work of(const Batch& batch) const;

  private:
    // Operations per token of the frozen linears, forward and backward.
    double linear_forward_ = 0, linear_backward_ = 0, linear_recomputed_ = 0;
    double skinny_forward_ = 0, skinny_backward_ = 0;  // adapters and outlier columns, per token
    double per_label_ = 0;                             // head, each pass
    // Attention, per pair of tokens that see each other: of the layers with each window (0: none).
    struct PerPair {
        double forward = 0, backward = 0;
    };
    std::map<int64_t, PerPair> per_pair_;
    bool int8_ = true, int8_backward_ = true;
};

}  // namespace quaff
