// The options of a question, of which one is right.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace llmc {

struct Choices {
    std::vector<std::string> options;  // empty: the example is no such question
    size_t right = 0;                  // position of the right one

    bool empty() const { return options.empty(); }
};

}  // namespace llmc
