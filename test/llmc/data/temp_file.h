// A file in a folder of its own, gone with the test.
#pragma once

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>

class TempFile {
  public:
    TempFile(const std::string& name, std::string_view content) {
        std::string folder = (std::filesystem::temp_directory_path() / "train_quaff_XXXXXX").string();
        if (!mkdtemp(folder.data())) throw std::runtime_error("cannot make " + folder);
        folder_ = folder;
        std::ofstream(folder_ / name, std::ios::binary) << content;
        name_ = name;
    }
    ~TempFile() { std::filesystem::remove_all(folder_); }
    TempFile(const TempFile&) = delete;
    TempFile& operator=(const TempFile&) = delete;

    std::string path() const { return (folder_ / name_).string(); }
    std::string folder() const { return folder_.string(); }

  private:
    std::filesystem::path folder_;
    std::string name_;
};
