// Checks what the SentencePiece library takes for granted in a tokenizer.model. A file that breaks it would end the
// process, or make the library read past its tables.
//
//   ModelProto     1: pieces     { 1: piece, 2: score, 3: type }, repeated
//                                  type: 1 normal, also when absent, 2 unknown, 3 control, 4 user-defined, 5 unused, 6
//                                  byte
//                  2: trainer_spec { 3: model_type, 1 unigram when absent, 2 BPE, ..; 24: treat_whitespace_as_suffix,
//                                  35: byte_fallback }
//                  3: normalizer_spec { 2: precompiled_charsmap, 3: add_dummy_prefix, 4: remove_extra_whitespaces,
//                                     5: escape_whitespaces }
//                  5: denormalizer_spec { 2: precompiled_charsmap }
//
// in the wire format of protocol buffers: (field number << 3 | wire type) as a varint, then a varint (0), 8 bytes (1),
// a length and that many bytes (2) or 4 bytes (5). If a field appears twice, the last one counts.
#pragma once

#include <string>
#include <string_view>

namespace llmc {

// What a model says about itself.
struct SentencePieceTraits {
    // About the spaces of a text, before it looks for pieces: one more in front; those at the ends, and all but one of
    // a run, dropped.
    bool adds_space = true, drops_spaces = true;
    bool escapes_spaces = true;  // a space becomes U+2581; a model without is refused
    bool byte_fallback = false;  // what has no piece becomes its bytes, not the unknown token
    // Some pieces are not simply found by merging characters: user-defined ones, which are found first, and unused
    // ones, which fall apart again.
    bool has_special_pieces = false;
};

// Throws Error unless `bytes` is a BPE model, as those of LLaMA, Mistral and Phi-3 are, whose pieces are distinct and
// text, without a character map. `where` is the file.
SentencePieceTraits check_sentencepiece_proto(std::string_view bytes, const std::string& where);

}  // namespace llmc
