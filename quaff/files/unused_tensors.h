// Tensors in a model's files that its architecture has no place for.
//
// transformers loads such a model without a word on what they were for. Most often the weights are those of another
// architecture under this one's name (q_norm, biases), or quantised ones without their scales, and the result is
// nonsense.
#pragma once

#include <span>
#include <string>

#include "llmc/io/safetensors.h"
#include "quaff/files/model_config.h"
#include "quaff/files/tensor_names.h"

namespace quaff {

using namespace llmc;

// A sentence that names the tensors which are not used, "" where there are none; buffers that transformers passes over
// are no tensors here. Throws Error, naming the tensor, when the model would compute something else without it: it lies
// in the model or its head, and is no bias of zeros or scale of ones.
std::string unused_tensors(const ModelConfig& config, const TensorNames& names,
                           std::span<const SafetensorsFile> shards);

}  // namespace quaff
