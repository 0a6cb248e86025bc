// LLMC_UNROLL before a loop over an array of vectors keeps these in registers. nvcc does not know the pragma.
#pragma once

#ifdef __CUDACC__
#define LLMC_UNROLL
#else
#define LLMC_UNROLL _Pragma("GCC unroll 16")
#endif
