// A file in its own folder, removed with the test.
#pragma once

#include <string>
#include <string_view>

#include "test/files.h"

class TempFile {
  public:
    TempFile(const std::string& name, std::string_view content) : path_(folder_.write(name, content)) {}

    std::string path() const { return path_.string(); }
    std::string folder() const { return folder_.path().string(); }
    const test::TempDir& directory() const { return folder_; }

  private:
    test::TempDir folder_;
    std::filesystem::path path_;
};
