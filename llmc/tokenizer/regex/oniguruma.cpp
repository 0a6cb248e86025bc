#include "llmc/tokenizer/regex/oniguruma.h"

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "llmc/core/error.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace llmc {

namespace {

using Names = std::pair<std::string_view, std::string_view>;

constexpr std::string_view kPosixWord = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}";
// Outside sets Oniguruma counts the six numbers of Latin-1 that are no digits, too: superscripts and fractions.
constexpr std::string_view kWord = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{B2}\\x{B3}\\x{B9}\\x{BC}-\\x{BE}";
constexpr std::string_view kHexDigits = "0-9A-Fa-f";

// [:name:] inside a set, as the contents of a set.
constexpr Names kPosixClasses[] = {
    {"alnum", "\\p{Alphabetic}\\p{Nd}"},
    {"alpha", "\\p{Alphabetic}"},
    {"blank", "\\p{Zs}\\t"},
    {"cntrl", "\\p{Cc}"},
    {"digit", "\\p{Nd}"},
    {"lower", "\\p{Lowercase}"},
    {"punct", "\\p{P}\\p{S}"},
    {"space", "\\p{White_Space}"},
    {"upper", "\\p{Uppercase}"},
    {"word", kPosixWord},
    {"xdigit", kHexDigits},
};

// \p{name}, in small letters without spaces, hyphens and underscores, for names that PCRE2 has not.
constexpr Names kProperties[] = {
    {"alpha", "Alphabetic"},
    {"blank", ""},
    {"cntrl", "Cc"},
    {"digit", "Nd"},
    {"graph", ""},
    {"lower", "Lowercase"},
    {"print", ""},
    {"punct", "P"},
    {"space", "White_Space"},
    {"upper", "Uppercase"},
    {"xdigit", "AHex"},
    {"other", "C"},
    {"control", "Cc"},
    {"format", "Cf"},
    {"unassigned", "Cn"},
    {"privateuse", "Co"},
    {"surrogate", "Cs"},
    {"letter", "L"},
    {"casedletter", "LC"},
    {"lowercaseletter", "Ll"},
    {"modifierletter", "Lm"},
    {"otherletter", "Lo"},
    {"titlecaseletter", "Lt"},
    {"uppercaseletter", "Lu"},
    {"mark", "M"},
    {"combiningmark", "M"},
    {"spacingmark", "Mc"},
    {"enclosingmark", "Me"},
    {"nonspacingmark", "Mn"},
    {"number", "N"},
    {"decimalnumber", "Nd"},
    {"letternumber", "Nl"},
    {"othernumber", "No"},
    {"punctuation", "P"},
    {"connectorpunctuation", "Pc"},
    {"dashpunctuation", "Pd"},
    {"closepunctuation", "Pe"},
    {"finalpunctuation", "Pf"},
    {"initialpunctuation", "Pi"},
    {"otherpunctuation", "Po"},
    {"openpunctuation", "Ps"},
    {"symbol", "S"},
    {"currencysymbol", "Sc"},
    {"modifiersymbol", "Sk"},
    {"mathsymbol", "Sm"},
    {"othersymbol", "So"},
    {"separator", "Z"},
    {"lineseparator", "Zl"},
    {"paragraphseparator", "Zp"},
    {"spaceseparator", "Zs"},
};

bool pcre2_takes(const std::string& pattern) {
    int error = 0;
    PCRE2_SIZE offset = 0;
    pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                     PCRE2_UTF | PCRE2_UCP, &error, &offset, nullptr);
    pcre2_code_free(code);
    return code != nullptr;
}

// Reads the pattern from left to right and writes PCRE2's.
class Translator {
  public:
    Translator(const std::string& pattern, const std::string& where) : in_(pattern), where_(where) {}

    std::string translate() {
        while (at_ < in_.size()) {
            if (depth_of_set_ > 0) {
                in_set();
            } else {
                outside_set();
            }
        }
        out_.append(options_to_close_.back(), ')');
        return std::move(out_);
    }

  private:
    char peek(size_t ahead = 0) const { return at_ + ahead < in_.size() ? in_[at_ + ahead] : '\0'; }
    bool next_is(std::string_view text) const { return std::string_view(in_).substr(at_).starts_with(text); }
    bool is_digit(size_t ahead) const { return std::isdigit(static_cast<unsigned char>(peek(ahead))) != 0; }

    void copy(size_t count) {
        out_.append(in_, at_, count);
        at_ += count;
    }
    void replace(size_t count, std::string_view text) {
        out_ += text;
        at_ += count;
    }
    [[noreturn]] void refuse(const std::string& what) const {
        fail(where_, ": the regular expression ", in_, " uses ", what,
             ", which is not supported. Please report the model, so that it can be.");
    }

    void outside_set() {
        switch (peek()) {
            case '\\':
                return escape();
            case '[':
                return open_set();
            case '(':
                return open_group();
            case ')':
                out_.append(options_to_close_.back(), ')');
                if (options_to_close_.size() > 1) options_to_close_.pop_back();
                return copy(1);
            case '^':
                return replace(1, "(?m:^)");
            case '$':
                return replace(1, "(?m:$)");
            case '{':
                return quantifier();
            default:
                return copy(1);
        }
    }

    // {n}, {n,}, {n,m}, {,m}; any other brace is a character.
    void quantifier() {
        size_t end = 1;
        while (is_digit(end)) ++end;
        const bool has_min = end > 1;
        const bool has_comma = peek(end) == ',';
        size_t last = end + has_comma;
        while (is_digit(last)) ++last;
        const bool has_max = has_comma && last > end + 1;
        if (peek(last) != '}' || !(has_min || has_max)) return replace(1, "\\{");
        const char behind = peek(last + 1);
        if (behind == '+' || (behind == '?' && !has_comma)) {
            refuse(concat(has_comma ? "{n,m}" : "{n}", behind));
        }
        if (!has_min) replace(1, "{0");
        copy(last + 1 - (has_min ? 0 : 1));
    }

    void open_group() {
        if (peek(1) == '*') refuse("(*");
        if (peek(1) != '?') {
            options_to_close_.push_back(0);
            return copy(1);
        }
        for (const char* kind : {"(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!"}) {
            if (!next_is(kind)) continue;
            options_to_close_.push_back(0);
            return copy(std::string_view(kind).size());
        }
        if (next_is("(?#")) {
            const size_t end = in_.find(')', at_);
            if (end == in_.npos) refuse("(?# without an end");
            at_ = end + 1;
            return;
        }
        if (next_is("(?<")) {
            const size_t end = in_.find('>', at_);
            if (end == in_.npos) refuse("(?< without an end");
            options_to_close_.push_back(0);
            return copy(end + 1 - at_);
        }
        options();
    }

    // (?i-m:..), or (?i), which holds to the end of the group around it.
    void options() {
        std::string options;
        size_t end = 2;
        for (; std::string_view("im-").find(peek(end)) != std::string_view::npos && peek(end) != '\0'; ++end) {
            options += peek(end) == 'm' ? 's' : peek(end);
        }
        if ((peek(end) != ':' && peek(end) != ')') || options.empty()) refuse(concat("(?", peek(end)));
        if (peek(end) == ':') {
            options_to_close_.push_back(0);
        } else {
            ++options_to_close_.back();
        }
        replace(end + 1, concat("(?", options, ':'));
    }

    void open_set() {
        ++depth_of_set_;
        if (depth_of_set_ == 1) {
            copy(1);
            if (peek() == '^') copy(1);
        } else {
            ++at_;
            if (peek() == '^') refuse("a negated set inside a set");
        }
        if (peek() == ']') refuse("a set that begins with ]");
        begins_ = true;
    }

    void in_set() {
        if (peek() == '-') return hyphen();
        begins_ = false;
        if (peek() == '\\') return escape();
        behind_ = Behind::character;
        if (next_is("[:")) return posix_class();
        if (peek() == '[') return open_set();
        if (next_is("&&")) refuse("&& inside a set");
        if (peek() == ']' && --depth_of_set_ > 0) {
            behind_ = Behind::set;
            return replace(1, "");
        }
        copy(1);
    }

    // A '-' stands for itself at the ends of its set and behind a set inside it, where it must not become a range once
    // that has lost its brackets.
    void hyphen() {
        const bool itself = begins_ || peek(1) == ']' || behind_ == Behind::set;
        if (peek(1) == '[' && peek(2) != ':') refuse("a '-' in front of a set inside a set");
        if (!itself && behind_ == Behind::several) refuse("a '-' behind a class inside a set");
        begins_ = false;
        behind_ = Behind::character;
        return itself ? replace(1, "\\-") : copy(1);
    }

    void posix_class() {
        const size_t end = in_.find(":]", at_);
        const std::string_view name =
            end == in_.npos ? std::string_view() : std::string_view(in_).substr(at_ + 2, end - at_ - 2);
        const auto* found = std::ranges::find(kPosixClasses, name, &Names::first);
        if (found == std::end(kPosixClasses)) refuse(concat("[:", name, ":]"));
        replace(name.size() + 4, found->second);
        behind_ = Behind::several;
    }

    // The characters of `contents`, inside a set or as a set of their own; the others if `negated`.
    void set(size_t count, std::string_view contents, bool negated) {
        if (depth_of_set_ == 0) return replace(count, concat(negated ? "[^" : "[", contents, ']'));
        if (negated) refuse(concat(in_.substr(at_, count), " inside a set"));
        replace(count, contents);
    }

    void escape() {
        const char c = peek(1);
        behind_ =
            std::string_view("sSwWhHdDpP").find(c) == std::string_view::npos ? Behind::character : Behind::several;
        switch (c) {
            case 's':
                return replace(2, "\\p{White_Space}");
            case 'S':
                return replace(2, "\\P{White_Space}");
            case 'w':
            case 'W':
                return set(2, depth_of_set_ > 0 ? kPosixWord : kWord, c == 'W');
            case 'h':
            case 'H':
                return set(2, kHexDigits, c == 'H');
            case 'v':
                return replace(2, "\\x0B");
            case 'b':
                return depth_of_set_ > 0 ? replace(2, "\\x08") : boundary(true);
            case 'p':
            case 'P':
                return property();
            case 'u':
            case 'x':
                return code_point();
            default:
                break;
        }
        const bool same_in_sets = std::string_view("dDrntfae").find(c) != std::string_view::npos;
        const bool punctuation = std::ispunct(static_cast<unsigned char>(c)) != 0;
        if (c != '\0' && (same_in_sets || punctuation)) return copy(2);
        if (depth_of_set_ == 0 && c == 'B') return boundary(false);
        if (depth_of_set_ == 0 && c != '\0' && std::string_view("AzZRXKGNk").find(c) != std::string_view::npos)
            return copy(2);
        if (depth_of_set_ == 0 && c >= '1' && c <= '9' && !is_digit(2)) return copy(2);  // a back-reference
        refuse(c == '\0' ? "\\ at its end" : concat('\\', c));
    }

    // Between a character of \w and another, or (\B) not.
    void boundary(bool between) {
        const std::string word = concat('[', kWord, ']');
        replace(2, between ? concat("(?:(?<=", word, ")(?!", word, ")|(?<!", word, ")(?=", word, "))")
                           : concat("(?:(?<=", word, ")(?=", word, ")|(?<!", word, ")(?!", word, "))"));
    }

    // \uXXXX, \xXX below U+0080 (above it would be a byte, in Ruby) and \x{..}
    void code_point() {
        const bool braces = peek(1) == 'x' && peek(2) == '{';
        size_t digits = 0;
        const size_t first = braces ? 3 : 2;
        const size_t most = braces ? 8 : peek(1) == 'u' ? 4 : 2;
        while (digits < most && std::isxdigit(static_cast<unsigned char>(peek(first + digits)))) ++digits;
        const std::string number = in_.substr(std::min(at_ + first, in_.size()), digits);
        const bool complete = braces           ? digits > 0 && peek(first + digits) == '}'
                              : peek(1) == 'u' ? digits == 4
                                               : digits > 0 && std::stoul("0" + number, nullptr, 16) < 0x80;
        if (!complete) refuse(in_.substr(at_, first + digits));
        replace(first + digits + braces, concat("\\x{", number, '}'));
    }

    void property() {
        const size_t close = in_.find('}', at_);
        if (peek(2) != '{' || close == in_.npos) refuse(concat('\\', peek(1), " without {..}"));
        const size_t count = close + 1 - at_;
        std::string name = in_.substr(at_ + 3, count - 4);
        bool negated = peek(1) == 'P';
        if (name.starts_with('^')) {
            negated = !negated;
            name.erase(0, 1);
        }
        std::string plain;
        for (const char c : name) {
            if (c != ' ' && c != '-' && c != '_')
                plain += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
        }
        if (plain == "word") return set(count, depth_of_set_ > 0 ? kPosixWord : kWord, negated);
        if (plain == "alnum") return set(count, "\\p{Alphabetic}\\p{Nd}", negated);
        const auto* found = std::ranges::find(kProperties, plain, &Names::first);
        if (found != std::end(kProperties)) {
            if (found->second.empty()) refuse(concat("\\p{", name, '}'));
            name = found->second;
        } else if (pcre2_takes(concat("\\p{sc:", name, '}'))) {
            name = concat("sc:", name);
        }
        replace(count, concat(negated ? "\\P{" : "\\p{", name, '}'));
    }

    const std::string& in_;
    const std::string& where_;
    std::string out_;
    size_t at_ = 0;
    int depth_of_set_ = 0;
    // What a '-' inside a set stands behind: several characters by a name, a set inside it, or anything else.
    enum class Behind : uint8_t { character, several, set };
    Behind behind_ = Behind::character;
    bool begins_ = false;                      // nothing of the set has been read
    std::vector<int> options_to_close_ = {0};  // by open group: how many (?i) are open in it
};

}  // namespace

std::string oniguruma_to_pcre2(const std::string& pattern, const std::string& where) {
    return Translator(pattern, where).translate();
}

}  // namespace llmc
