// The model on the GPU: all kernels it launches are compiled here, once per compute type (model_*.cu).
#pragma once

#include "llmc/cuda/operators.cuh"
#include "llmc/cuda/peak.cuh"
#include "quaff/model/calibrate_definitions.h"
#include "quaff/model/cuda/lora.cuh"
#include "quaff/model/cuda/scales.cuh"
#include "quaff/model/model_definitions.h"

#define QUAFF_INSTANTIATE_CUDA(T)                                                                        \
    template class quaff::Block<cuda::Device<T>>;                                                        \
    template class quaff::Model<cuda::Device<T>>;                                                        \
    template quaff::OutlierChannels quaff::calibrate(const cuda::Device<T>&, const ModelFiles&,          \
                                                     std::span<const Batch>, const CalibrationOptions&); \
    template llmc::Peak cuda::measure_peak(const cuda::Device<T>&);
