// What tests of files share: a directory of their own, files in it, and the sentence that a damaged file gets.
#pragma once

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>

#include "llmc/core/error.h"

namespace test {

// A new, empty directory in `parent` that goes with the test; not with a fork of its process.
class TempDir {
  public:
    explicit TempDir(const std::filesystem::path& parent = std::filesystem::temp_directory_path()) {
        std::string name = (parent / "train_quaff_XXXXXX").string();
        if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("cannot create " + name);
        path_ = name;
    }
    ~TempDir() {
        if (::getpid() == process_) std::filesystem::remove_all(path_);
    }
    TempDir(const TempDir&) = delete;
    TempDir& operator=(const TempDir&) = delete;

    const std::filesystem::path& path() const { return path_; }
    std::filesystem::path operator/(std::string_view name) const { return path_ / name; }

    std::filesystem::path write(std::string_view name, std::string_view content) const {
        std::ofstream(path_ / name, std::ios::binary) << content;
        return path_ / name;
    }

  private:
    std::filesystem::path path_;
    pid_t process_ = ::getpid();
};

// A folder of this name, empty anew. It lies in one that is this process's own and goes with it, so that tests can run
// beside those of other processes and other users.
inline std::filesystem::path fresh_folder(const std::string& name) {
    static const TempDir of_process;
    const std::filesystem::path folder = of_process / name;
    std::filesystem::remove_all(folder);
    std::filesystem::create_directories(folder);
    return folder;
}

inline void write_text(const std::filesystem::path& path, const std::string& text) {
    std::ofstream(path, std::ios::binary) << text;
}

inline std::string read(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

// The message of the llmc::Error that `action` throws, "" when it throws none. Anything else goes through and fails the
// test: an error for the user is never a std::out_of_range.
template <class Action>
std::string error_of(Action&& action) {
    try {
        action();
    } catch (const llmc::Error& error) {
        return error.what();
    }
    return "";
}

// The same without the temporary directory's name in front of files.
template <class Action>
std::string error_of(const TempDir& directory, Action&& action) {
    std::string message = error_of(action);
    const std::string prefix = directory.path().string() + "/";
    for (size_t at; (at = message.find(prefix)) != message.npos;) message.erase(at, prefix.size());
    return message;
}

}  // namespace test
