// Text as people have it: in a file or on standard input, packed by gzip or not, with or without a byte order mark,
// its lines ended by LF or CRLF. Whatever reads text of the user's reads it through here.
#pragma once

#include <cstdint>
#include <istream>
#include <memory>
#include <string>
#include <vector>

namespace llmc {

// Standard input where the name of a file may stand.
inline constexpr const char* kStandardInput = "-";

class TextInput {
  public:
    // Throws Error if the file cannot be read, is a directory, UTF-16 or the pointer of a file that Git LFS keeps.
    explicit TextInput(const std::string& path);
    ~TextInput();

    // At its first byte behind a byte order mark. Cannot go back. Reading throws Error, as from the file it comes from.
    std::istream& stream() { return stream_; }
    // For messages: the file, or "standard input".
    const std::string& name() const { return name_; }

  private:
    const std::string name_;
    std::unique_ptr<std::streambuf> file_, unpacked_;  // unpacked_: null if the file is not packed
    std::istream stream_;
};

// The lines of a stream, without their ends.
class TextLines {
  public:
    static constexpr int64_t kMostBytes = int64_t{64} << 20;

    // `name` begins errors; the stream's next line has the number `first_line`.
    TextLines(std::istream& in, std::string name, int64_t first_line = 1, int64_t most_bytes = kMostBytes);

    // False at the end. Throws Error for a line of more than most_bytes.
    bool next(std::string& line);
    // Of the line that next() gave.
    int64_t number() const { return number_; }
    std::string where() const;  // "train.jsonl:12"

  private:
    std::istream& in_;
    const std::string name_;
    int64_t number_;
    const int64_t most_bytes_;
    std::vector<char> piece_;
};

// All lines of a text.
std::vector<std::string> read_lines(const std::string& path);

}  // namespace llmc
