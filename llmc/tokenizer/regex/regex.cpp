#include "llmc/tokenizer/regex/regex.h"

#include <nlohmann/json.hpp>

#include "llmc/core/error.h"
#include "llmc/core/utf8.h"
#include "llmc/io/json.h"
#include "llmc/tokenizer/regex/oniguruma.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace llmc {

namespace {

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

// A line ends with a line feed alone, as in Ruby, whatever PCRE2 was built for.
using CompileContext = std::unique_ptr<pcre2_compile_context, decltype(&pcre2_compile_context_free)>;

CompileContext ruby_lines() {
    CompileContext context(pcre2_compile_context_create(nullptr), pcre2_compile_context_free);
    require(context != nullptr, "Out of memory while reading a regular expression.");
    pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
    pcre2_set_bsr(context.get(), PCRE2_BSR_UNICODE);
    return context;
}

}  // namespace

std::string pcre2_message(int error) {
    char message[256];
    pcre2_get_error_message(error, reinterpret_cast<PCRE2_UCHAR*>(message), sizeof message);
    return message;
}

Regex::Regex(const std::string& pattern, std::string where) : where_(std::move(where)) {
    const std::string translated = oniguruma_to_pcre2(pattern, where_);
    int error = 0;
    PCRE2_SIZE offset = 0;
    // UCP: \p and \d and caseless matching by Unicode properties, as Oniguruma does for UTF-8.
    pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                                     PCRE2_UTF | PCRE2_UCP, &error, &offset, ruby_lines().get());
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

void Regex::cut(std::string_view text, std::vector<PatternSpan>& spans) const {
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

void Pattern::cut(std::string_view text, std::vector<PatternSpan>& spans) const {
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
    std::vector<PatternSpan> spans;
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
