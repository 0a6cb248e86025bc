#include "llmc/io/gunzip.h"

#include <zlib.h>

#include "llmc/core/error.h"

namespace llmc {

namespace {

constexpr size_t kBufferBytes = size_t{64} << 10;

}  // namespace

// zlib's state: next_in and avail_in are what is left of the input.
struct GunzipBuffer::Inflater : z_stream {};

GunzipBuffer::GunzipBuffer(std::streambuf& packed, std::string name)
    : packed_(packed),
      name_(std::move(name)),
      inflater_(std::make_unique<Inflater>()),
      input_(kBufferBytes),
      output_(kBufferBytes) {
    constexpr int kGzipOnly = 16 + MAX_WBITS;
    require(inflateInit2(inflater_.get(), kGzipOnly) == Z_OK, name_, ": there is no memory to unpack it");
}

GunzipBuffer::~GunzipBuffer() {
    inflateEnd(inflater_.get());
}

bool GunzipBuffer::refill() {
    if (inflater_->avail_in > 0) return true;
    const std::streamsize n = packed_.sgetn(input_.data(), std::ssize(input_));
    inflater_->next_in = reinterpret_cast<Bytef*>(input_.data());
    inflater_->avail_in = static_cast<uInt>(n);
    return n > 0;
}

bool GunzipBuffer::next_member() {
    while (refill()) {
        if (*inflater_->next_in == 0x1f) {
            inflateReset(inflater_.get());
            return true;
        }
        require(*inflater_->next_in == 0, name_, ": something that is not packed by gzip follows the packed data");
        ++inflater_->next_in;
        --inflater_->avail_in;
    }
    return false;
}

GunzipBuffer::int_type GunzipBuffer::underflow() {
    for (;;) {
        if (!in_member_ && !next_member()) return traits_type::eof();
        in_member_ = true;
        require(refill(), name_, ": the file ends in the middle of its packed data; copy or download it again");
        inflater_->next_out = reinterpret_cast<Bytef*>(output_.data());
        inflater_->avail_out = static_cast<uInt>(output_.size());
        const int status = inflate(inflater_.get(), Z_NO_FLUSH);
        require(status == Z_OK || status == Z_STREAM_END || status == Z_BUF_ERROR, name_,
                ": the packed data are damaged (", inflater_->msg ? inflater_->msg : "zlib cannot unpack them",
                "); copy or download the file again");
        in_member_ = status != Z_STREAM_END;
        const size_t n = output_.size() - inflater_->avail_out;
        if (n == 0) continue;
        setg(output_.data(), output_.data(), output_.data() + n);
        return traits_type::to_int_type(output_.front());
    }
}

bool is_gzip(std::string_view start) {
    return start.starts_with("\x1f\x8b");
}

}  // namespace llmc
