// Regular expressions as Python's `re` means them, for the settings of Python's programs; run by PCRE2.
//
// What the two read differently, and what Python does not know, is refused by name. Nobody's expression can take long:
// a match is bounded by its steps, an expression by its length.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

struct pcre2_real_code_8;

namespace llmc {

// Immutable; copies share the compiled expression.
class PythonRegex {
  public:
    enum class Extent { front, whole };  // re.match, re.fullmatch

    // `where` names the place of the expression, for errors. `before` and `after` are pasted around it. Throws Error
    // when it is not valid, too long, or not of Python's dialect.
    PythonRegex(const std::string& expression, std::string where, Extent extent, const std::string& before = "",
                const std::string& after = "");

    // The expression alone.
    const std::string& text() const { return text_; }
    // Whether `text`, in UTF-8, matches. Throws Error when that takes too many steps, or when it is not UTF-8.
    bool matches(std::string_view text) const;
    // What the group (?P<name>..) holds; nothing when `text` does not match, or the group takes no part.
    std::optional<std::string> group(std::string_view text, const std::string& name) const;

  private:
    std::string text_, where_;
    std::shared_ptr<const pcre2_real_code_8> code_;
};

}  // namespace llmc
