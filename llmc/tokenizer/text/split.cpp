#include "llmc/tokenizer/text/split.h"

#include <algorithm>

namespace llmc {

void join(std::vector<PatternSpan>& spans, SplitBehavior behavior) {
    if (behavior == SplitBehavior::isolated) return;
    if (behavior == SplitBehavior::removed) {
        std::erase_if(spans, [](const PatternSpan& span) { return span.is_match; });
        return;
    }
    // Merging with the next is merging with the previous, seen from the end.
    const bool backwards = behavior == SplitBehavior::merged_with_next;
    if (backwards) std::ranges::reverse(spans);
    size_t size = 0;  // of what is joined, at the front
    bool previous = false;
    for (const PatternSpan span : spans) {
        const bool merges =
            behavior == SplitBehavior::contiguous ? span.is_match == previous : span.is_match && !previous;
        previous = span.is_match;
        if (merges && size > 0) {
            spans[size - 1].begin = std::min(spans[size - 1].begin, span.begin);
            spans[size - 1].end = std::max(spans[size - 1].end, span.end);
        } else {
            spans[size++] = span;
        }
    }
    spans.resize(size);
    if (backwards) std::ranges::reverse(spans);
}

}  // namespace llmc
