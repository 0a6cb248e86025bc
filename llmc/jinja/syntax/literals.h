// Numbers and strings as they are written in a template.
#pragma once

#include <string>
#include <string_view>

#include "llmc/jinja/values/value.h"

namespace llmc::jinja::syntax {

struct NumberLiteral {
    size_t bytes;
    Value value;  // int or float
    bool too_large = false;
};

// What `text`, which begins with a digit, begins with: 12, 1_000, 0x1F, 1.5, 2e3. `may_have_fraction`: not behind a
// dot.
NumberLiteral read_number(std::string_view text, bool may_have_fraction);

// What stands between the quotes with its escapes resolved, as Python's. `error` becomes a sentence if there is a bad
// one.
std::string unescape(std::string_view text, std::string& error);

}  // namespace llmc::jinja::syntax
