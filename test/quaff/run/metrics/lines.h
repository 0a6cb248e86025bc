// What tests of metrics read: lines of JSON, and what the program has said.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "test/files.h"

namespace test {

inline std::vector<nlohmann::json> json_lines(const std::filesystem::path& path) {
    std::vector<nlohmann::json> lines;
    std::istringstream text(read(path));
    for (std::string line; std::getline(text, line);) lines.push_back(nlohmann::json::parse(line));
    return lines;
}

// Words on one line: the terminal wraps them.
inline std::string unwrapped(const std::string& text) {
    std::string words;
    for (const char c : text)
        if (const char as_read = c == '\n' ? ' ' : c; as_read != ' ' || !words.ends_with(' ')) words += as_read;
    return words;
}

}  // namespace test
