#include "quaff/files/tensor_names.h"

#include <string_view>

namespace quaff {

namespace {

constexpr std::string_view kDecoder = "model.", kHead = "lm_head.";

bool has_prefix(const std::string& name, std::string_view prefix) {
    return name.starts_with(prefix);
}

std::string with_prefix(const std::string& name, std::string_view old, std::string_view replacement) {
    return std::string(replacement) + name.substr(old.size());
}

}  // namespace

TensorNames::TensorNames(const ModelConfig& config, const std::function<bool(const std::string&)>& contains)
    : decoder_(std::string(config.decoder()) + "."), decoder_in_files_(decoder_), head_in_files_(kHead) {
    if (decoder_ == kDecoder || !contains("language_model.model.norm.weight")) return;
    decoder_in_files_ = "language_model.model.";
    head_in_files_ = "language_model.lm_head.";
}

std::string TensorNames::in_files(const std::string& name) const {
    if (has_prefix(name, kHead)) return with_prefix(name, kHead, head_in_files_);
    for (const std::string_view own : {std::string_view(decoder_), kDecoder})
        if (has_prefix(name, own)) return with_prefix(name, own, decoder_in_files_);
    return name;
}

std::string TensorNames::from_files(const std::string& name) const {
    if (has_prefix(name, head_in_files_)) return with_prefix(name, head_in_files_, kHead);
    if (has_prefix(name, decoder_in_files_)) return with_prefix(name, decoder_in_files_, decoder_);
    return "";
}

}  // namespace quaff
