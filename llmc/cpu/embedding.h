// Token embedding: out[n,:] = table[ids[n],:]. The table is frozen, so there is no backward.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "llmc/cpu/device.h"

namespace cpu {

// Call it before a parallel region, which an exception cannot leave.
inline void require_ids(std::span<const int32_t> ids, int64_t rows) {
    for (size_t n = 0; n < ids.size(); n++)
        require(ids[n] >= 0 && ids[n] < rows, "token ", n, " has id ", ids[n], ", but the embedding table has ", rows,
                " rows. The tokenizer and the model do not belong together.");
}

template <class T>
void embedding_forward(const Device& device, Matrix<T> out, ConstMatrix<T> table, std::span<const int32_t> ids) {
    const int64_t n_tokens = static_cast<int64_t>(ids.size());
    require_ids(ids, table.rows);
#pragma omp parallel for num_threads(device.threads) schedule(static)
    for (int64_t n = 0; n < n_tokens; n++) std::copy_n(table.row(ids[n]), out.cols, out.row(n));
}

}  // namespace cpu
