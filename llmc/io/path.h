// Paths: whether one leads anywhere, and the names in it. Where nobody can tell (a folder that may not be entered, a
// name that is too long, links in a circle) std::filesystem throws errors of its own or says no; these functions throw
// Error naming the path.
#pragma once

#include <filesystem>

namespace llmc {

// Whether something is there, of whatever kind; symbolic links are followed.
bool path_exists(const std::filesystem::path& path);
// Whether a directory is there.
bool path_is_directory(const std::filesystem::path& path);

// The path in normal form, without the slash at its end that hides its last name: "out/run" for "out//run/".
std::filesystem::path without_slash(const std::filesystem::path& path);
// The folder that holds it: "." for a bare name.
std::filesystem::path parent_of(const std::filesystem::path& path);

}  // namespace llmc
