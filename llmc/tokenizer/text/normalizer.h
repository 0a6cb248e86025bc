// The normalizers of tokenizer.json rewrite a text before it is cut: Prepend, Replace, NFC, NFD, NFKC, NFKD, Lowercase,
// Strip, StripAccents, and Sequence of them. Other kinds are refused by name.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "llmc/tokenizer/step_limits.h"
#include "llmc/tokenizer/text/aligned_text.h"

namespace llmc {

class JsonObject;

class NormalizerStep {
  public:
    virtual ~NormalizerStep() = default;
    virtual void apply(AlignedText& text) const = 0;
};

class Normalizer {
  public:
    Normalizer() = default;  // changes nothing
    explicit Normalizer(const JsonObject& normalizer);

    // U+2581 takes the place of spaces, as in SentencePiece: one more is put in front if `prefix`; those at the ends,
    // and all but one of a run, are dropped first if `drop_extra`.
    static Normalizer sentencepiece(bool prefix, bool drop_extra);

    void apply(AlignedText& text) const;
    std::string apply(const std::string& text) const;

  private:
    void read(const JsonObject& normalizer, StepLimits& limits);
    template <class Step>
    void add(Step step);

    std::vector<std::shared_ptr<const NormalizerStep>> steps_;
};

}  // namespace llmc
