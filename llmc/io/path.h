// Whether a path leads anywhere. Where nobody can tell (a folder that may not be entered, a name that is too long,
// links in a circle) std::filesystem throws errors of its own or says no; these functions throw Error naming the path.
#pragma once

#include <filesystem>

namespace llmc {

// Whether something is there, of whatever kind; symbolic links are followed.
bool path_exists(const std::filesystem::path& path);
// Whether a directory is there.
bool path_is_directory(const std::filesystem::path& path);

}  // namespace llmc
