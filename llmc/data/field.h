// A named value of a row, and how messages speak of it.
#pragma once

#include <string>
#include <string_view>

#include "llmc/io/ordered_json.h"

namespace llmc {

// A cell of a .csv or .tsv file is a string; JSON is as parsed.
struct Field {
    std::string name;
    Json value;
};

// What a value is, in words: "a string", "2.5", "a list of integers", "a list with a string at position 3".
std::string kind_of(const Json& value);

// A name as messages quote it, "name": cut if it is long, without control characters or bytes that are not UTF-8.
std::string in_quotes(std::string_view text);

// Whether the value is an integer of 64 bits with a sign.
bool is_integer(const Json& value);

}  // namespace llmc
