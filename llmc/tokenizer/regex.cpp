#include "llmc/tokenizer/regex.h"

#include <cctype>
#include <nlohmann/json.hpp>

#include "llmc/core/error.h"
#include "llmc/io/json.h"
#include "llmc/tokenizer/utf8.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace llmc {

namespace {

// Translates Oniguruma's Ruby syntax to PCRE2's. Most of what pre-tokenizers use is common to both. \s is not: PCRE2's
// includes U+180E, Unicode's White_Space does not. \w, \h, ^ and $ and others mean different things; no known file of
// the supported families uses them, so they are refused rather than guessed.
std::string to_pcre2(const std::string& pattern, const std::string& where) {
    std::string out;
    const auto refuse = [&](const std::string& what) {
        fail(where, ": the regular expression ", pattern, " uses ", what,
             ", which is not supported. Please report the model, so that it can be.");
    };
    const auto at = [&](size_t i) { return i < pattern.size() ? pattern[i] : '\0'; };
    bool in_set = false;
    for (size_t i = 0; i < pattern.size(); ++i) {
        const char c = pattern[i];
        out += c;
        if (c == '\\') {
            const char escaped = at(++i);
            if (escaped == 's') {
                out += "p{White_Space}";
            } else if (escaped == 'S') {
                out += "P{White_Space}";
            } else if (std::string_view("pPdDrntf").find(escaped) != std::string_view::npos ||
                       std::ispunct(static_cast<unsigned char>(escaped))) {
                out += escaped;
            } else {
                refuse(concat('\\', escaped));
            }
            if (escaped == 'p' || escaped == 'P') {
                const size_t close = pattern.find('}', i);
                if (at(i + 1) != '{' || close == std::string::npos) refuse(concat('\\', escaped, " without {..}"));
                out.append(pattern, i + 1, close - i);
                i = close;
            }
        } else if (in_set) {
            if (c == '[') refuse("a set inside a set");
            if (c == '&' && at(i + 1) == '&') refuse("&& inside a set");
            in_set = c != ']';
        } else if (c == '[') {
            in_set = true;
            if (at(i + 1) == '^') out += pattern[++i];
            if (at(i + 1) == ']') refuse("a set that begins with ]");
        } else if (c == '^' || c == '$') {
            refuse(concat("the anchor ", c));
        } else if (c == '{' && at(i + 1) == ',') {
            refuse("{,n}");
        } else if (c == '}' && at(i + 1) == '+') {
            refuse("{n,m}+");
        } else if (c == '(' && at(i + 1) == '*') {
            refuse("(*");
        } else if (c == '(' && at(i + 1) == '?') {
            const size_t group = pattern.find_first_not_of("i-", i + 2);
            const char kind = group == std::string::npos ? '\0' : pattern[group];
            const bool flags = group != i + 2 && group != std::string::npos;
            if (std::string_view(flags ? ":)" : ":=!>").find(kind) == std::string_view::npos &&
                !(kind == '<' && !flags && (at(group + 1) == '=' || at(group + 1) == '!'))) {
                refuse(concat("(?", kind));
            }
        }
    }
    return out;
}

std::string pcre2_message(int error) {
    char message[256];
    pcre2_get_error_message(error, reinterpret_cast<PCRE2_UCHAR*>(message), sizeof message);
    return message;
}

// The results of a match and its stack, one per thread: a Regex itself is shared and never written.
struct MatchScratch {
    pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
    pcre2_match_context* context = pcre2_match_context_create(nullptr);
    // Compiled patterns backtrack on this stack; it grows to 16 MiB.
    pcre2_jit_stack* stack = pcre2_jit_stack_create(32 << 10, 16 << 20, nullptr);

    MatchScratch() {
        require(data && context, "Out of memory while preparing to match a regular expression.");
        if (stack) pcre2_jit_stack_assign(context, nullptr, stack);
    }
    ~MatchScratch() {
        pcre2_match_data_free(data);
        pcre2_match_context_free(context);
        pcre2_jit_stack_free(stack);
    }
};

}  // namespace

Regex::Regex(const std::string& pattern, std::string where) : where_(std::move(where)) {
    const std::string translated = to_pcre2(pattern, where_);
    int error = 0;
    PCRE2_SIZE offset = 0;
    // UCP: \p and \d and caseless matching by Unicode properties, as Oniguruma does for UTF-8.
    pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                                     PCRE2_UTF | PCRE2_UCP, &error, &offset, nullptr);
    if (!code) fail(where_, ": the regular expression ", pattern, " is not valid: ", pcre2_message(error), ".");
    code_ = std::shared_ptr<const pcre2_code>(code,
                                              [](const pcre2_code* c) { pcre2_code_free(const_cast<pcre2_code*>(c)); });
    // Fails if PCRE2 was built without its compiler; the pattern is then interpreted: slower, the same matches.
    pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
}

bool Regex::match(std::string_view text, size_t offset, uint32_t options, size_t* begin, size_t* end) const {
    thread_local MatchScratch scratch;
    const char* subject = text.empty() ? "" : text.data();
    const int rc = pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(subject), text.size(), offset,
                               options | PCRE2_NO_UTF_CHECK, scratch.data, scratch.context);
    if (rc == PCRE2_ERROR_NOMATCH) return false;
    if (rc < 0) {
        fail(where_, ": the regular expression gave up on a text of ", text.size(), " bytes at byte ", offset, " (",
             pcre2_message(rc), "). Try shorter texts.");
    }
    const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(scratch.data);
    *begin = ends[0];
    *end = ends[1];
    return true;
}

void Regex::cut(std::string_view text, std::vector<Span>& spans) const {
    spans.clear();
    size_t done = 0;    // end of the last span
    size_t search = 0;  // where the next match may begin
    size_t begin = 0, end = 0;
    bool matched = false;
    while (search <= text.size() && match(text, search, 0, &begin, &end)) {
        search = end;
        if (begin == end) {
            if (end < text.size())
                search += utf8_sequence(text.substr(end)).length;
            else
                search = text.size() + 1;
            if (matched && end == done) continue;  // an empty match right after another one does not count
        }
        if (done != begin) spans.push_back({done, begin, false});
        spans.push_back({begin, end, true});
        done = end;
        matched = true;
    }
    if (done != text.size()) spans.push_back({done, text.size(), false});
}

bool Regex::matches_front(std::string_view text) const {
    size_t begin = 0, end = 0;
    return match(text, 0, PCRE2_ANCHORED, &begin, &end);
}

Pattern::Pattern(const JsonObject& owner, const std::string& key) {
    const JsonObject pattern = owner.object(key);
    if (pattern.has("String") && pattern.tree().size() == 1) {
        literal_ = pattern.string("String");
        if (literal_.empty()) pattern.fail_field("String", "a string that is not empty");
    } else if (pattern.has("Regex") && pattern.tree().size() == 1) {
        regex_.emplace(pattern.string("Regex"), pattern.field("Regex"));
    } else {
        owner.fail_field(key, "{\"String\": ..} or {\"Regex\": ..}");
    }
}

void Pattern::cut(std::string_view text, std::vector<Span>& spans) const {
    if (regex_) return regex_->cut(text, spans);
    spans.clear();
    size_t done = 0;
    for (size_t at; (at = text.find(literal_, done)) != text.npos; done = at + literal_.size()) {
        if (done != at) spans.push_back({done, at, false});
        spans.push_back({at, at + literal_.size(), true});
    }
    if (done != text.size()) spans.push_back({done, text.size(), false});
}

std::string Pattern::replace(std::string_view text, std::string_view content) const {
    std::vector<Span> spans;
    cut(text, spans);
    std::string out;
    for (const auto& [begin, end, is_match] : spans) out += is_match ? content : text.substr(begin, end - begin);
    return out;
}

double Pattern::growth(std::string_view content) const {
    const auto length = static_cast<double>(content.size());
    return regex_ ? length + 1 : length / static_cast<double>(literal_.size());
}

}  // namespace llmc
