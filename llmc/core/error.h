// Errors are sentences for the user: what was being done, with which file, tensor or option, and what to try. Library
// code throws Error (exit status 1) or UsageError (exit status 2); only main() exits.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>

namespace llmc {

// The text for a terminal: control characters become question marks, because names in messages come from untrusted
// files. Line ends and tabs stay. U+0080 to U+009F count too; in UTF-8 they are 0xC2 and one more byte.
inline std::string printable(std::string text) {
    for (size_t i = 0; i < text.size(); ++i) {
        const auto byte = static_cast<unsigned char>(text[i]);
        const bool control = (byte < 0x20 && byte != '\n' && byte != '\t') || byte == 0x7F;
        if (control) text[i] = '?';
        if (byte != 0xC2 || i + 1 == text.size()) continue;
        const auto next = static_cast<unsigned char>(text[i + 1]);
        if (next >= 0x80 && next < 0xA0) text.replace(i, 2, "?");
    }
    return text;
}

// Something the user can fix: a bad file, a full disk, a model that does not fit. Exit status 1.
class Error : public std::runtime_error {
  public:
    explicit Error(const std::string& message) : std::runtime_error(printable(message)) {}
};

// The command line or its combination of options is wrong. Exit status 2.
class UsageError : public Error {
  public:
    explicit UsageError(const std::string& message) : Error(message) {}
};

// The parts, streamed into one string.
template <class... Parts>
std::string concat(const Parts&... parts) {
    std::ostringstream text;
    (text << ... << parts);
    return text.str();
}

// Throws Error with the parts streamed into one sentence.
template <class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
    throw Error(concat(parts...));
}

// Throws Error unless `condition` holds. The parts are always evaluated, so keep them cheap.
template <class... Parts>
void require(bool condition, const Parts&... parts) {
    if (!condition) fail(parts...);
}

}  // namespace llmc
