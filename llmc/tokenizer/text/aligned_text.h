// A text on its way through the steps of a tokenizer, which knows for each of its bytes the character of the original
// text that it stands for.
//
// As in Hugging Face's tokenizers, a byte stands for exactly one character: what a step writes in place of others
// stands for one of them, chosen by the step; what nothing was there for, for the empty stretch where the text begins.
// A stretch of the text then stands for all from its first byte's character to its last byte's.
//
// Most texts pass unchanged. Until a step rewrites it, the text is a view of the original and nothing is stored.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "llmc/tokenizer/text_range.h"

namespace llmc {

class AlignedText {
  public:
    // `part` is what lies at `offset` of the whole text, UTF-8; it must outlive this. If not `tracked`, the characters
    // are not noted, which is cheaper, and range() must not be called once the text is rewritten. Throws Error if a
    // tracked part is 4 GiB long.
    AlignedText(std::string_view part, size_t offset, bool tracked);

    std::string_view text() const { return rewritten_ ? std::string_view(text_) : part_; }

    // The bytes of the whole text that the bytes [begin, end) of text(), at least one, stand for.
    TextRange range(size_t begin, size_t end) const;

  private:
    friend class Rewriter;
    static constexpr uint32_t kNowhere = UINT32_MAX;

    uint32_t origin(size_t byte) const;
    TextRange character(uint32_t origin) const;

    std::string_view part_;
    size_t offset_;
    bool tracked_;
    bool rewritten_ = false;
    std::string text_;               // once rewritten
    std::vector<uint32_t> origins_;  // then, if tracked: by byte of text_, where in part_ its character begins
};

// Writes the next version of a text, from left to right, while the current one is still there to read.
class Rewriter {
  public:
    static constexpr size_t kNowhere = SIZE_MAX;

    explicit Rewriter(AlignedText& text);

    size_t size() const { return text_.size(); }  // of what is written

    // The bytes [begin, end) of the current version, as they are.
    void keep(size_t begin, size_t end);

    // `bytes` stand for what the byte `source` of the current version stands for, or for nothing if it is kNowhere.
    void put(std::string_view bytes, size_t source);

    // What is written becomes the text.
    void finish();

  private:
    AlignedText& from_;
    std::string text_;
    std::vector<uint32_t> origins_;
};

}  // namespace llmc
