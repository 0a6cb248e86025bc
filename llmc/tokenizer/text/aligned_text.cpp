#include "llmc/tokenizer/text/aligned_text.h"

#include "llmc/core/error.h"
#include "llmc/core/utf8.h"

namespace llmc {

AlignedText::AlignedText(std::string_view part, size_t offset, bool tracked)
    : part_(part), offset_(offset), tracked_(tracked) {
    require(!tracked || part.size() < kNowhere, "A text of ", part.size(),
            " bytes is too long to tell where its tokens lie. Cut it into texts below 4 GiB.");
}

uint32_t AlignedText::origin(size_t byte) const {
    if (rewritten_) return origins_[byte];
    while ((part_[byte] & 0xC0) == 0x80) --byte;  // back to the first byte of the character
    return static_cast<uint32_t>(byte);
}

TextRange AlignedText::character(uint32_t origin) const {
    if (origin == kNowhere) return {offset_, offset_};
    const size_t begin = offset_ + origin;
    return {begin, begin + utf8_sequence(part_.substr(origin)).length};
}

TextRange AlignedText::range(size_t begin, size_t end) const {
    const TextRange first = character(origin(begin));
    const TextRange last = character(origin(end - 1));
    return {first.begin, std::max(first.begin, last.end)};
}

Rewriter::Rewriter(AlignedText& text) : from_(text) {
    const size_t size = text.text().size();
    text_.reserve(size + size / 4 + 16);
    if (text.tracked_) origins_.reserve(text_.capacity());
}

void Rewriter::keep(size_t begin, size_t end) {
    text_ += from_.text().substr(begin, end - begin);
    if (!from_.tracked_) return;
    if (from_.rewritten_) {
        origins_.insert(origins_.end(), from_.origins_.begin() + begin, from_.origins_.begin() + end);
    } else {
        uint32_t origin = begin < end ? from_.origin(begin) : 0;
        for (size_t byte = begin; byte < end; ++byte) {
            if ((from_.part_[byte] & 0xC0) != 0x80) origin = static_cast<uint32_t>(byte);
            origins_.push_back(origin);
        }
    }
}

void Rewriter::put(std::string_view bytes, size_t source) {
    text_ += bytes;
    if (from_.tracked_)
        origins_.resize(text_.size(), source == kNowhere ? AlignedText::kNowhere : from_.origin(source));
}

void Rewriter::finish() {
    from_.text_ = std::move(text_);
    from_.origins_ = std::move(origins_);
    from_.rewritten_ = true;
}

}  // namespace llmc
