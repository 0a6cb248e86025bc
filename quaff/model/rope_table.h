// cos and sin of every rotation that a run can need, computed once, on the host, in fp32 as transformers does.
//
//   angle[p,k] = p * inv_freq[k],  cos/sin[p,k] = attention_factor * cos/sin(angle[p,k]),  k < rotary_dim / 2
//
//   default   inv_freq[k] = theta^(-2k/rotary_dim), which the other types change:
//   linear    inv_freq[k] / factor
//   llama3    inv_freq[k] / factor for long wavelengths, inv_freq[k] for short ones, interpolated in between
//   yarn      inv_freq[k] ((1-r) + r / factor), r = clamp((k - low) / (high - low), 0, 1), from
//             low = c(beta_fast), high = c(beta_slow), c(b) = rotary_dim ln(L / (2 pi b)) / (2 ln theta) and
//             L = original_max_position_embeddings; low is rounded down and high up with `truncate`, then both are
//             brought into 0 .. rotary_dim - 1
//   longrope  inv_freq[k] / short_factor[k]
//             inv_freq[k] / long_factor[k] in sequences longer than original_max_position_embeddings
//
// longrope has two sets of rows, first the short factors', then the long ones'. The length of its sequence says which
// set a token uses.
// transformers, modeling_rope_utils.py; Su et al. 2021, arXiv 2104.09864; Peng et al. 2023, arXiv 2309.00071;
// Ding et al. 2024, arXiv 2402.13753.
#pragma once

#include <cstdint>
#include <vector>

#include "llmc/core/tensor.h"
#include "quaff/files/model_config.h"

namespace quaff {

using namespace llmc;

class RopeTable {
  public:
    // Rows for sequences of up to `max_sequence_length` tokens.
    RopeTable(const ModelConfig& config, int64_t max_sequence_length);

    int64_t rows() const { return rows_; }
    int64_t columns() const { return columns_; }  // rotary_dim / 2
    int64_t rotary_dim() const { return 2 * columns_; }

    // Writes cos and sin [rows, columns].
    void fill(Matrix<float> cos, Matrix<float> sin) const;

    // Whether a sequence of this length uses the long factors.
    bool is_long(int64_t sequence_length) const { return long_begin_ > 0 && sequence_length > original_length_; }
    // Row of position p in a sequence of `sequence_length` tokens.
    int32_t row(int64_t position, int64_t sequence_length) const {
        return static_cast<int32_t>(position + (is_long(sequence_length) ? long_begin_ : 0));
    }

  private:
    void fill_rows(Matrix<float> cos, Matrix<float> sin, const std::vector<float>& inv_freq) const;

    int64_t rows_, columns_;
    int64_t long_begin_ = 0;  // first row of the long factors; 0: there is one set only
    int64_t original_length_ = 0;
    float attention_factor_ = 1;
    std::vector<float> inv_freq_, long_inv_freq_;
};

}  // namespace quaff
