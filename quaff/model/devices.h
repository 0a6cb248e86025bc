// The devices this program is built for. Code that is the same for all of them is a template in a .cpp file. The file
// ends by instantiating it for each:
//
//   #define INSTANTIATE(Device) template class Trainer<Device>;
//   QUAFF_FOR_EACH_DEVICE(INSTANTIATE)
//
// The Makefile defines LLMC_CUDA where there is CUDA, or its emulation, to build with. Kernels are compiled once per
// compute type, in model/cuda/*.cu. Everything else sees CUDA's host interface only.
#pragma once

#include "llmc/cpu/device.h"

#ifdef LLMC_CUDA
#include "llmc/cuda/peak.h"
#include "llmc/cuda/runtime/gpu.h"
#define QUAFF_FOR_EACH_DEVICE(INSTANTIATE)  \
    INSTANTIATE(::cpu::Device)              \
    INSTANTIATE(::cuda::Device<cuda::bf16>) \
    INSTANTIATE(::cuda::Device<cuda::fp16>) \
    INSTANTIATE(::cuda::Device<float>)
#else
#define QUAFF_FOR_EACH_DEVICE(INSTANTIATE) INSTANTIATE(::cpu::Device)
#endif
