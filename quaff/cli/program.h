// How messages of llmc/ name this program and its options.
#pragma once

#include "llmc/core/program.h"

namespace quaff {

inline constexpr llmc::ProgramWords kProgram = {
    .name = "train_quaff",
    .batch_size = "--batch-size",
    .source_max_len = "--source-max-len",
    .target_max_len = "--target-max-len",
    .chat_template = "--template",
    .comm_timeout = "--comm-timeout",
    .output_folder = "--out",
    .save_memory = "lower --batch-size, or see train_quaff --plan",
    .save_gpu_memory = "lower --batch-size, or take --recompute block",
    .use_cpu = "take --device cpu",
    .use_mpi = "take --comm mpi",
    .use_fp16 = "take --dtype fp16",
    .use_int16_gradients = "take --grad-bits 16",
};

}  // namespace quaff
