// Token embedding: out[n,:] = table[ids[n],:]. The table is frozen, so there is no backward.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "llmc/cpu/device.h"

namespace cpu {

template <class T>
void embedding_forward(const Device& device, Matrix<T> out, ConstMatrix<T> table, std::span<const int32_t> ids) {
    const int64_t n_tokens = static_cast<int64_t>(ids.size());
    // Before the parallel region: an exception cannot leave one.
    for (int64_t n = 0; n < n_tokens; n++) {
        require(ids[n] >= 0 && ids[n] < table.rows, "token ", n, " has id ", ids[n], ", but the embedding table has ",
                table.rows, " rows. The tokenizer and the model do not belong together.");
    }
#pragma omp parallel for num_threads(device.threads) schedule(static)
    for (int64_t n = 0; n < n_tokens; n++) std::copy_n(table.row(ids[n]), out.cols, out.row(n));
}

}  // namespace cpu
