#include "llmc/io/toml.h"

#include <cstring>

#include "llmc/core/error.h"
#include "llmc/io/text_input.h"

namespace llmc {
namespace {

constexpr int64_t kMaxBytes = 1 << 18;  // ample for some sixty options; refuses /dev/zero

// A backslash and kEscapes[i] stand for kMeanings[i].
constexpr std::string_view kEscapes = "\"\\ntr", kMeanings = "\"\\\n\t\r";

bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r';
}

bool is_name_character(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

// Reads one line from left to right.
class Line {
  public:
    Line(const std::string& text, const std::string& where) : text_(text), where_(where) { skip_blanks(); }

    bool at_end() const { return at_ >= text_.size() || text_[at_] == '#'; }

    std::string name() {
        const size_t begin = at_;
        while (at_ < text_.size() && is_name_character(text_[at_])) ++at_;
        require(at_ > begin, where_, ": an option is written `name = value`, for instance `batch-size = 16`");
        std::string name = text_.substr(begin, at_ - begin);
        skip_blanks();
        return name;
    }

    bool accept(char c) {
        if (at_ >= text_.size() || text_[at_] != c) return false;
        ++at_;
        skip_blanks();
        return true;
    }

    std::vector<std::string> values() {
        if (accept('[')) return array();
        return {scalar()};
    }

  private:
    void skip_blanks() {
        while (at_ < text_.size() && is_blank(text_[at_])) ++at_;
    }

    std::vector<std::string> array() {
        std::vector<std::string> values;
        while (!accept(']')) {
            require(values.empty() || accept(','), where_, ": an array is written on one line, [\"a\", \"b\"]");
            if (accept(']')) break;
            require(!at_end(), where_, ": an array is written on one line, [\"a\", \"b\"]");
            values.push_back(scalar());
        }
        return values;
    }

    std::string scalar() {
        std::string value;
        if (at_ < text_.size() && text_[at_] == '"') {
            value = basic_string();
        } else if (at_ < text_.size() && text_[at_] == '\'') {
            const size_t end = text_.find('\'', at_ + 1);
            require(end != std::string::npos, where_, ": the string has no closing '");
            value = text_.substr(at_ + 1, end - at_ - 1);
            at_ = end + 1;
        } else {
            const size_t begin = at_;
            while (at_ < text_.size() && !is_blank(text_[at_]) && !std::strchr("#,]", text_[at_])) ++at_;
            value = text_.substr(begin, at_ - begin);
            require(!value.empty(), where_, ": there is no value after the =");
        }
        skip_blanks();
        return value;
    }

    std::string basic_string() {
        std::string value;
        for (++at_; at_ < text_.size(); ++at_) {
            if (text_[at_] == '"') {
                ++at_;
                return value;
            }
            if (text_[at_] != '\\') {
                value += text_[at_];
                continue;
            }
            const char escaped = ++at_ < text_.size() ? text_[at_] : '\0';
            const size_t found = escaped ? kEscapes.find(escaped) : kEscapes.npos;
            require(found != kEscapes.npos, where_, ": \\", escaped,
                    R"( is not a supported escape; use \" \\ \n \t \r)");
            value += kMeanings[found];
        }
        fail(where_, ": the string has no closing \"");
    }

    const std::string& text_;
    const std::string& where_;
    size_t at_ = 0;
};

}  // namespace

std::vector<TomlEntry> read_toml(const std::string& path) {
    TextInput file(path);
    TextLines lines(file.stream(), path, 1, kMaxBytes);
    std::vector<TomlEntry> entries;
    std::string text;
    int64_t bytes = 0;
    while (lines.next(text)) {
        bytes += std::ssize(text);
        require(bytes <= kMaxBytes, path, ": has more than ", kMaxBytes, " bytes; this is no file of options");
        const std::string where = concat(path, " line ", lines.number());
        Line line(text, where);
        if (line.at_end()) continue;
        require(!line.accept('['), where, ": options are not grouped into tables; remove the [...] line");
        TomlEntry entry;
        entry.name = line.name();
        require(line.accept('='), where, ": there is no = after ", entry.name);
        entry.values = line.values();
        entry.line = static_cast<int>(lines.number());
        require(line.at_end(), where, ": something follows the value of ", entry.name, "; put text in \"quotes\"");
        for (const TomlEntry& earlier : entries)
            require(earlier.name != entry.name, where, ": ", entry.name, " was already set in line ", earlier.line);
        entries.push_back(std::move(entry));
    }
    return entries;
}

std::string toml_quote(const std::string& text) {
    std::string quoted = "\"";
    for (const char c : text) {
        const size_t found = kMeanings.find(c);
        if (found != kMeanings.npos) quoted += '\\';
        quoted += found != kMeanings.npos ? kEscapes[found] : c;
    }
    return quoted + '"';
}

}  // namespace llmc
