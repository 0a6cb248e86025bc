// What the tensors of a language model are called in files that hold more than text.
//
//   this program, PEFT, transformers 5    model.language_model.layers.0..   lm_head.weight
//   files of transformers 4               language_model.model.layers.0..   language_model.lm_head.weight
#pragma once

#include <functional>
#include <string>

#include "quaff/files/model_config.h"

namespace quaff {

class TensorNames {
  public:
    // contains: whether the files have a tensor of that name.
    TensorNames(const ModelConfig& config, const std::function<bool(const std::string&)>& contains);

    // kEmbedding, kHead and kLastNorm, too, are names of this program, of whatever model.
    std::string in_files(const std::string& name) const;
    // "" for a tensor that is not of the language model.
    std::string from_files(const std::string& name) const;

  private:
    std::string decoder_;                           // of this program: "model."
    std::string decoder_in_files_, head_in_files_;  // what begins the names
};

}  // namespace quaff
