// The one weight that adds both corrections of a quantised linear: its LoRA adapters and its outlier channels.
//
//   Y += Z Wz^T,   Z  = [ dropout(X) A^T | Xh[:,Oc] ]            [N, R + n]
//                  Wz = [ (alpha/r) B    | (s - 1) Wo ]           [O, R + n]
//
// Where outlier channels are taken out of the int8 product (s is null), their part of Z is X[:,Oc] and that of Wz is
// Wo.
//
// A joint linear (q, k, v; gate, up) has an adapter for each of its parts that is to have one, with a rank and an alpha
// of its own. Their A are stacked to [R, I], R the sum of the ranks. B is block-diagonal: adapter p writes outputs
// out_begin .. out_begin + O_p - 1, scaled by its alpha/r. Hu et al. 2021, arXiv 2106.09685.
#pragma once

#include <vector>

#include "llmc/cpu/device.h"
#include "quaff/files/lora.h"

namespace cpu {

// Wz [O, R + n] = from the adapters' B, `outlier_weight` Wo [O, n] and `s` [n], or null. Zero outside of B's blocks.
inline void joint_weight(const Device& device, Matrix<float> wz, const std::vector<quaff::LoraAdapter>& adapters,
                         Matrix<const float> outlier_weight, const float* s) {
    const int64_t n = outlier_weight.cols;
    const int64_t rank = wz.cols - n;
#pragma omp parallel for num_threads(device.threads)
    for (int64_t o = 0; o < wz.rows; o++) {
        float* row = wz.row(o);
        int64_t column = 0;
        for (const quaff::LoraAdapter& adapter : adapters) {
            const int64_t r = adapter.b.cols;
            const int64_t local = o - adapter.out_begin;
            const bool inside = local >= 0 && local < adapter.b.rows;
            for (int64_t k = 0; k < r; k++) row[column + k] = inside ? adapter.scaling * adapter.b(local, k) : 0.0f;
            column += r;
        }
        for (int64_t j = 0; j < n; j++) row[rank + j] = (s ? s[j] - 1.0f : 1.0f) * outlier_weight(o, j);
    }
}

}  // namespace cpu
