// Token embedding: out[n,:] = table[ids[n],:]. The table is frozen, so there is no backward. `ids` lies in device
// memory; the host has checked that each is a row of the table.
#pragma once

#include <span>

#include "llmc/cuda/gather.cuh"

namespace cuda {

template <class T>
void embedding_forward(const Device<T>& device, Matrix<T> out, ConstMatrix<T> table, std::span<const int32_t> ids) {
    gather_rows<T>(device, out, table, ids);
}

}  // namespace cuda
