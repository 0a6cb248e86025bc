// Every CUDA operator, for the model that is written in terms of them.
#pragma once

#include "llmc/cuda/adamw.cuh"
#include "llmc/cuda/add.cuh"
#include "llmc/cuda/attention.cuh"
#include "llmc/cuda/cross_entropy.cuh"
#include "llmc/cuda/dropout.cuh"
#include "llmc/cuda/embedding.cuh"
#include "llmc/cuda/gather.cuh"
#include "llmc/cuda/gemm.cuh"
#include "llmc/cuda/global_norm.cuh"
#include "llmc/cuda/int8_gemm.cuh"
#include "llmc/cuda/quantize.cuh"
#include "llmc/cuda/rmsnorm.cuh"
#include "llmc/cuda/rope.cuh"
#include "llmc/cuda/rows.cuh"
#include "llmc/cuda/swiglu.cuh"
#include "llmc/cuda/transfer.cuh"
