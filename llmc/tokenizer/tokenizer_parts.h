// The parts of a tokenizer, whichever files they were read from.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <unordered_map>

#include "llmc/tokenizer/added_tokens.h"
#include "llmc/tokenizer/decoder.h"
#include "llmc/tokenizer/models/token_model.h"
#include "llmc/tokenizer/text/normalizer.h"
#include "llmc/tokenizer/text/pre_tokenizer.h"
#include "llmc/tokenizer/transcript.h"

namespace llmc {

class JsonObject;

struct TokenizerParts {
    std::unique_ptr<TokenModel> model;
    Normalizer normalizer;
    PreTokenizer pre_tokenizer;
    Decoder decoder;
    std::map<int32_t, AddedToken> added;                 // by id
    std::unordered_map<std::string, int32_t> added_ids;  // by content
    AddedTokenMatcher as_written, as_normalized;
    bool prepends_spaces = false;  // by LLaMA 2's normalizer, which puts a space before every stretch of text
    bool splits_special = false;   // the text of a special token is text like any other
    std::optional<TrimRanges> trim_ranges;
    std::optional<int32_t> bos, eos;
    bool adds_bos = false, adds_eos = false;
    std::optional<int32_t> template_bos, template_eos;  // what the post-processor of tokenizer.json adds

    std::optional<int32_t> id(std::string_view token) const;
    int32_t max_id() const;

    // Adds the token, or changes the one with this content. `token.id` must be the id that Hugging Face would give it
    // (the one it has, or the next free one), or -1 for any. `where`: the file, for errors.
    void add(AddedToken token, const std::string& where);
    // Builds the matchers, once all tokens are added.
    void finish();
};

// An entry of added_tokens, or of added_tokens_decoder.
AddedToken read_added_token(const JsonObject& token);

TokenizerParts read_tokenizer_json(const std::filesystem::path& path);

// Reads tokenizer.model, and what tokenizer_config.json, if there is one, says about spaces.
TokenizerParts read_sentencepiece(const std::filesystem::path& directory);

// Applies what tokenizer_config.json, special_tokens_map.json and added_tokens.json say about special tokens.
void apply_tokenizer_config(TokenizerParts& parts, const std::filesystem::path& directory);

}  // namespace llmc
