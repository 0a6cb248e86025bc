// What lies beside a model's weights and goes along with what is made of it: into a merged model all of it, into the
// folder of an adapter the tokenizer alone, so that tools that are given just that folder find it.
#pragma once

#include <filesystem>

namespace quaff {

// Configuration, tokenizer, chat template, code, license. Not the index, which goes with the shards, nor the files of
// an adapter in the model's folder: transformers would look for its weights.
bool is_companion(const std::filesystem::path& file);

// One of the files that transformers' tokenizers are loaded from.
bool is_tokenizer_file(const std::filesystem::path& file);

// Copies the files of folder `from` for which `wanted` holds into folder `to`, each atomically. If one cannot be
// copied, none is left in `to`, and it throws what went wrong.
void copy_companions(const std::filesystem::path& from, const std::filesystem::path& to,
                     bool (*wanted)(const std::filesystem::path& file));

}  // namespace quaff
