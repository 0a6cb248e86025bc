// A conversation, as messages and as text that is cut where the loss begins and ends.
#pragma once

#include <string>

namespace llmc {

struct Message {
    std::string role;  // system, user or assistant
    std::string content;
};

// What the assistant is told, and what it answers. The next turn's source follows this target.
struct Turn {
    std::string source, target;
};

}  // namespace llmc
