#include "llmc/tokenizer/regex/python_regex.h"

#include <cctype>

#include "llmc/core/error.h"
#include "llmc/tokenizer/regex/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace llmc {

namespace {

constexpr size_t kMaxLength = 1 << 16;
constexpr uint32_t kMaxSteps = 20'000;  // of a match, a quarter of a millisecond; honest ones take up to 1,500
// Bytes that an expression of `length` may be compiled to: (ab){999} repeats its group so often.
constexpr size_t most_compiled(size_t length) {
    return 512 + 32 * length;
}

constexpr std::string_view kEscapedLetters = "AbBdDsSwWZafnrtvx";  // those that Python and PCRE2 both know

// As errors show it.
std::string shortened(std::string_view expression) {
    constexpr size_t kShown = 200;
    return expression.size() <= kShown ? std::string(expression) : concat(expression.substr(0, kShown), "..");
}

// What follows "(?" in Python: groups, lookarounds, comments and flags; not PCRE2's recursions and callouts.
bool is_python_group(std::string_view rest) {
    for (const char* kind : {":", "=", "!", ">", "#", "P<", "P=", "<=", "<!"}) {
        if (rest.starts_with(kind)) return true;
    }
    const size_t flags = rest.find_first_not_of("imsx-");
    return flags != rest.npos && flags > 0 && (rest[flags] == ')' || rest[flags] == ':');
}

// Throws when Python does not know the expression, or reads it otherwise than PCRE2.
void require_python(std::string_view expression, const std::string& where) {
    const auto refuse = [&](std::string_view what) {
        fail(where, ": the regular expression ", shortened(expression), " uses ", what,
             ", which is not supported; write it without");
    };
    bool in_set = false;
    for (size_t i = 0; i < expression.size(); ++i) {
        const std::string_view rest = expression.substr(i + 1);
        const char c = expression[i], next = rest.empty() ? '\0' : rest[0];
        if (c == '\\') {
            if (std::isalpha(static_cast<unsigned char>(next)) && kEscapedLetters.find(next) == kEscapedLetters.npos)
                refuse(concat('\\', next));
            ++i;
        } else if (in_set) {
            if (c == '[' && (next == ':' || next == '.' || next == '=')) refuse(concat('[', next, " in a set"));
            in_set = c != ']';
        } else if (c == '[') {
            in_set = true;
            if (next == '^') ++i;
            if (i + 1 < expression.size() && expression[i + 1] == ']') ++i;  // a ] that comes first is one of the set
        } else if (c == '{' && next == ',') {
            refuse("{,n} (write {0,n})");
        } else if (c == '(' && next == '*') {
            refuse("(*");
        } else if (c == '(' && next == '?' && !is_python_group(rest.substr(1))) {
            refuse(concat("(?", rest.substr(1, 1)));
        }
    }
}

// Where a match ended up, for one call.
class Match {
  public:
    Match(const pcre2_code* code, std::string_view subject)
        : data_(pcre2_match_data_create_from_pattern(code, nullptr)), context_(pcre2_match_context_create(nullptr)) {
        if (!data_ || !context_) return;
        pcre2_set_match_limit(context_, kMaxSteps);
        result_ = pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(subject.empty() ? "" : subject.data()), subject.size(),
                              0, 0, data_, context_);
    }
    ~Match() {
        pcre2_match_data_free(data_);
        pcre2_match_context_free(context_);
    }
    Match(const Match&) = delete;
    Match& operator=(const Match&) = delete;

    int result() const { return result_; }
    // The text of a named group; nothing where it took no part in the match.
    std::optional<std::string> group(const std::string& name) const {
        PCRE2_UCHAR* text = nullptr;
        PCRE2_SIZE length = 0;
        if (pcre2_substring_get_byname(data_, reinterpret_cast<PCRE2_SPTR>(name.c_str()), &text, &length) != 0)
            return std::nullopt;
        std::string copy(reinterpret_cast<const char*>(text), length);
        pcre2_substring_free(text);
        return copy;
    }

  private:
    pcre2_match_data* data_;
    pcre2_match_context* context_;
    int result_ = PCRE2_ERROR_NOMEMORY;
};

// Throws when the match was given up.
bool matched(const Match& match, const std::string& text, const std::string& where) {
    if (match.result() == PCRE2_ERROR_NOMATCH) return false;
    require(match.result() > 0, where, ": the regular expression ", shortened(text), " gave up (",
            pcre2_message(match.result()), "); write a simpler one");
    return true;
}

}  // namespace

PythonRegex::PythonRegex(const std::string& expression, std::string where, Extent extent, const std::string& before,
                         const std::string& after)
    : text_(expression), where_(std::move(where)) {
    require(expression.size() <= kMaxLength, where_, ": a regular expression of ", expression.size(),
            " characters is more than ", kMaxLength, "; write a shorter one");
    require_python(expression, where_);
    const std::string pasted = before + expression + after;
    int error = 0;
    PCRE2_SIZE offset = 0;
    pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pasted.data()), pasted.size(),
                                     PCRE2_ANCHORED | PCRE2_UTF | (extent == Extent::whole ? PCRE2_ENDANCHORED : 0u),
                                     &error, &offset, nullptr);
    if (!code)
        fail(where_, ": the regular expression ", shortened(expression), " is not valid: ", pcre2_message(error));
    code_ = std::shared_ptr<const pcre2_code>(code,
                                              [](const pcre2_code* c) { pcre2_code_free(const_cast<pcre2_code*>(c)); });
    size_t compiled = 0;
    pcre2_pattern_info(code, PCRE2_INFO_SIZE, &compiled);
    require(compiled <= most_compiled(pasted.size()), where_, ": the regular expression ", shortened(expression),
            " repeats a group too many times; write it with * or +");
}

bool PythonRegex::matches(std::string_view text) const {
    return matched(Match(code_.get(), text), text_, where_);
}

std::optional<std::string> PythonRegex::group(std::string_view text, const std::string& name) const {
    const Match match(code_.get(), text);
    if (!matched(match, text_, where_)) return std::nullopt;
    return match.group(name);
}

}  // namespace llmc
