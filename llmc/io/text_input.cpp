#include "llmc/io/text_input.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "llmc/core/bytes.h"
#include "llmc/core/error.h"
#include "llmc/io/file_io.h"
#include "llmc/io/gunzip.h"

namespace llmc {
namespace {

// The bytes of an open file, whose errors are told and not taken for its end.
class FileBuffer : public std::streambuf {
  public:
    FileBuffer(int descriptor, bool owned, std::string name)
        : descriptor_(descriptor), owned_(owned), name_(std::move(name)) {}
    ~FileBuffer() override {
        if (owned_) close(descriptor_);
    }

  protected:
    int_type underflow() override {
        ssize_t n = 0;
        do n = read(descriptor_, bytes_.data(), bytes_.size());
        while (n < 0 && errno == EINTR);
        require(n >= 0, "cannot read ", name_, ": ", std::strerror(errno));
        if (n == 0) return traits_type::eof();
        setg(bytes_.data(), bytes_.data(), bytes_.data() + n);
        return traits_type::to_int_type(bytes_.front());
    }

  private:
    const int descriptor_;
    const bool owned_;
    const std::string name_;
    std::array<char, size_t{64} << 10> bytes_;
};

std::unique_ptr<std::streambuf> open_file(const std::string& path, const std::string& name) {
    if (path == kStandardInput) return std::make_unique<FileBuffer>(STDIN_FILENO, false, name);
    std::error_code ignored;
    require(!std::filesystem::is_directory(path, ignored), path, " is a directory; name a file in it");
    const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    require(descriptor >= 0, "cannot open ", path, ": ", std::strerror(errno));
    return std::make_unique<FileBuffer>(descriptor, true, name);
}

// The first bytes of a stream that is at its start, which stays there.
class StartOfStream : public std::streambuf {
  public:
    explicit StartOfStream(std::unique_ptr<std::streambuf> rest) : rest_(std::move(rest)) {
        const std::streamsize n = rest_->sgetn(start_.data(), std::ssize(start_));
        setg(start_.data(), start_.data(), start_.data() + n);
    }

    std::string_view text() const { return {gptr(), static_cast<size_t>(egptr() - gptr())}; }
    void skip(int n) { gbump(n); }

  protected:
    int_type underflow() override {
        const std::streamsize n = rest_->sgetn(start_.data(), std::ssize(start_));
        if (n == 0) return traits_type::eof();
        setg(start_.data(), start_.data(), start_.data() + n);
        return traits_type::to_int_type(start_.front());
    }

  private:
    std::unique_ptr<std::streambuf> rest_;
    std::array<char, size_t{64} << 10> start_;
};

// Leaves out a byte order mark.
void check_encoding(StartOfStream& text, const std::string& name) {
    const std::string_view start = text.text();
    require(!start.starts_with("\xFF\xFE") && !start.starts_with("\xFE\xFF"), name,
            " is UTF-16, but must be UTF-8; convert it with: iconv -f UTF-16 -t UTF-8");
    refuse_lfs_pointer(name, start);
    if (start.starts_with("\xEF\xBB\xBF")) text.skip(3);
}

}  // namespace

TextInput::TextInput(const std::string& path)
    : name_(path == kStandardInput ? "standard input" : path), stream_(nullptr) {
    auto file = std::make_unique<StartOfStream>(open_file(path, name_));
    StartOfStream* text = file.get();
    file_ = std::move(file);
    if (is_gzip(text->text())) {
        auto unpacked = std::make_unique<StartOfStream>(std::make_unique<GunzipBuffer>(*file_, name_));
        text = unpacked.get();
        unpacked_ = std::move(unpacked);
    }
    check_encoding(*text, name_);
    stream_.rdbuf(text);
    stream_.exceptions(std::ios::badbit);  // what reading throws passes through
}

TextInput::~TextInput() = default;

TextLines::TextLines(std::istream& in, std::string name, int64_t first_line, int64_t most_bytes)
    : in_(in), name_(std::move(name)), number_(first_line - 1), most_bytes_(most_bytes), piece_(size_t{64} << 10) {}

bool TextLines::next(std::string& line) {
    line.clear();
    if (!in_.good()) return false;
    ++number_;
    for (bool more = true; more;) {
        in_.getline(piece_.data(), std::ssize(piece_));
        const std::streamsize n = in_.gcount();
        if (in_.eof()) {
            line.append(piece_.data(), n);
            break;
        }
        more = in_.fail();  // the buffer is full, and the line goes on
        if (more) in_.clear();
        line.append(piece_.data(), more ? n : n - 1);
        require(std::ssize(line) <= most_bytes_, where(), ": the line is longer than ", format_bytes(most_bytes_),
                "; are its line ends missing?");
    }
    if (in_.eof() && line.empty()) return false;
    if (!line.empty() && line.back() == '\r') line.pop_back();
    return true;
}

std::string TextLines::where() const {
    return concat(name_, ":", number_);
}

std::vector<std::string> read_lines(const std::string& path) {
    TextInput input(path);
    TextLines text(input.stream(), input.name());
    std::vector<std::string> lines;
    for (std::string line; text.next(line);) lines.push_back(line);
    return lines;
}

}  // namespace llmc
