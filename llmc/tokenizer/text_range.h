// A stretch of a text, in bytes: [begin, end).
#pragma once

#include <cstddef>

namespace llmc {

struct TextRange {
    size_t begin, end;

    bool operator==(const TextRange&) const = default;
};

}  // namespace llmc
