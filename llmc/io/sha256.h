// SHA-256 (FIPS 180-4). A checkpoint's manifest is made of it, so that `sha256sum -c` can check one too.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace llmc {

class Sha256 {
  public:
    void update(std::string_view bytes);
    // 64 hexadecimal digits of everything so far. Ends the digest.
    std::string finish();

  private:
    void compress(const unsigned char* block);

    std::array<uint32_t, 8> state_ = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    std::array<unsigned char, 64> pending_{};
    size_t n_pending_ = 0;
    uint64_t n_bytes_ = 0;
};

std::string sha256(std::string_view bytes);
// Of a file's content, read in pieces. Throws Error if it cannot be read.
std::string sha256_of_file(const std::filesystem::path& path);

}  // namespace llmc
