// How messages of llmc/ name this program and its options.
#pragma once

#include "llmc/core/program.h"

namespace quaff {

inline constexpr const char* kVersion = "0.1.0";

inline constexpr llmc::ProgramWords kProgram = {
    .name = "train_quaff",
    .batch_size = "--batch-size",
    .source_max_len = "--source-max-len",
    .target_max_len = "--target-max-len",
    .chat_template = "--template",
    .columns = "--columns",
    .comm_timeout = "--comm-timeout",
    .output_folder = "--out",
    .save_memory = "lower --batch-size, or see train_quaff --plan",
    .save_gpu_memory = "lower --batch-size, or use --recompute block",
    .use_cpu = "use --device cpu",
    .use_mpi = "use --comm mpi",
    .use_fp16 = "use --dtype fp16",
    .use_float_gradients = "use --grad-bits 16",
};

}  // namespace quaff
