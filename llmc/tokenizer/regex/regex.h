// Regular expressions as tokenizer.json means them. Hugging Face's tokenizers runs them through Oniguruma (Ruby syntax,
// UTF-8), this through PCRE2. What the two read differently is rewritten, or refused by name.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

struct pcre2_real_code_8;

namespace llmc {

class JsonObject;

inline constexpr const char* kMetaspace = "\xE2\x96\x81";  // U+2581, which SentencePiece writes for a space

// What PCRE2 says of an error.
std::string pcre2_message(int error);

// The contents of a set for \w, as Rust's regex crate has it, which is what Hugging Face's own rules use.
inline constexpr const char* kRustWord = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\xE2\x80\x8C\xE2\x80\x8D";

// A stretch of the text: a match, or what lies between two.
struct PatternSpan {
    size_t begin, end;
    bool is_match;
};

class Regex {
  public:
    // `where` names the place of the pattern, for errors.
    Regex(const std::string& pattern, std::string where);

    // Sets `spans` to the whole of `text` (well-formed UTF-8), cut at every match. An empty match is a cut between two
    // characters.
    void cut(std::string_view text, std::vector<PatternSpan>& spans) const;

    // Whether `text` begins with a match.
    bool matches_front(std::string_view text) const;

  private:
    bool match(std::string_view text, size_t offset, uint32_t options, size_t* begin, size_t* end) const;

    std::shared_ptr<const pcre2_real_code_8> code_;
    std::string where_;
};

// What tokenizer.json calls a pattern: {"String": ".."}, taken literally, or {"Regex": ".."}.
class Pattern {
  public:
    explicit Pattern(std::string literal) : literal_(std::move(literal)) {}  // not empty
    explicit Pattern(Regex regex) : regex_(std::move(regex)) {}
    Pattern(const JsonObject& owner, const std::string& key);

    void cut(std::string_view text, std::vector<PatternSpan>& spans) const;  // as Regex does
    std::string replace(std::string_view text, std::string_view content) const;
    // How many times as long as the text the result of replace() may be: an expression may match a single byte, or
    // none.
    double growth(std::string_view content) const;

  private:
    std::string literal_;
    std::optional<Regex> regex_;
};

}  // namespace llmc
