// A stream of bytes as gzip packed them, unpacked as it is read.
#pragma once

#include <memory>
#include <streambuf>
#include <string>
#include <vector>

namespace llmc {

// Unpacks what `packed` holds: one gzip member or several, one after the other, then perhaps zeros. Two buffers of
// 64 KiB are all that it keeps. Reading throws Error, which begins with `name`, for what is damaged or ends early.
class GunzipBuffer : public std::streambuf {
  public:
    // `packed` must outlive this.
    GunzipBuffer(std::streambuf& packed, std::string name);
    ~GunzipBuffer() override;

  protected:
    int_type underflow() override;

  private:
    struct Inflater;

    bool refill();       // false at the end of `packed`
    bool next_member();  // false if there is none

    std::streambuf& packed_;
    const std::string name_;
    std::unique_ptr<Inflater> inflater_;
    std::vector<char> input_, output_;
    bool in_member_ = false;
};

// Whether the file that begins so is packed by gzip.
bool is_gzip(std::string_view start);

}  // namespace llmc
