// Errors are sentences for the person who gets them: what was being done, on which file, tensor or option, and what to
// try. Library code throws Error (exit status 1) or UsageError (exit status 2); only main() exits.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>

namespace llmc {

// Something the user can mend: a bad file, a full disk, a model that does not fit. Exit status 1.
class Error : public std::runtime_error {
  public:
    explicit Error(const std::string& message) : std::runtime_error(message) {}
};

// The command line or its combination of options is wrong. Exit status 2.
class UsageError : public Error {
  public:
    explicit UsageError(const std::string& message) : Error(message) {}
};

// The parts, streamed one after the other into one string.
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

// Throws Error unless `condition`. The parts are only evaluated as arguments, so keep them cheap.
template <class... Parts>
void require(bool condition, const Parts&... parts) {
    if (!condition) fail(parts...);
}

}  // namespace llmc
