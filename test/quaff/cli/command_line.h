// What the tests of the command line share.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "llmc/core/error.h"
#include "quaff/cli/parsing.h"
#include "test/files.h"

namespace command_line {

// The message of the UsageError, or "" when the command line is fine.
inline std::string complaint(const std::vector<std::string>& arguments) {
    try {
        quaff::cli::parse(arguments);
    } catch (const llmc::UsageError& error) {
        return error.what();
    }
    return "";
}

inline bool mentions(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

// Writes a file, of a name that no other test takes, and returns its path.
inline std::string write_file(const std::string& name, const std::string& content) {
    static const test::TempDir folder;
    std::filesystem::create_directories((folder / name).parent_path());
    std::ofstream(folder / name) << content;
    return (folder / name).string();
}

}  // namespace command_line
