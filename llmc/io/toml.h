// The part of TOML that a file of options needs: `name = value` lines with strings, numbers, booleans, one-line arrays
// and comments. Every value is handed on as text; the option it is for checks it.
#pragma once

#include <string>
#include <vector>

namespace llmc {

struct TomlEntry {
    std::string name;
    std::vector<std::string> values;  // one, or those of an array
    int line = 0;
};

// Throws Error naming file and line for the rest of TOML (tables, dates, multi-line values).
std::vector<TomlEntry> read_toml(const std::string& path);

// `text` as a TOML string.
std::string toml_quote(const std::string& text);

}  // namespace llmc
