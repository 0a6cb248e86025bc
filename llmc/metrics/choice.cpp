#include "llmc/metrics/choice.h"

#include <cctype>
#include <string>

#include "llmc/core/error.h"

namespace llmc {
namespace {

constexpr std::string_view kSpace = " \t\r\n";
constexpr std::string_view kDecoration = " \t\r\n*_`\"'([{";  // what may stand before a letter

bool is_word(char c) {
    const auto byte = static_cast<unsigned char>(c);
    return std::isalnum(byte) || byte >= 0x80;  // any character beyond ASCII counts as one of a word
}

char at_or_space(std::string_view text, size_t at) {
    return at < text.size() ? text[at] : ' ';
}

size_t skip(std::string_view text, size_t at, std::string_view characters) {
    const size_t next = text.find_first_not_of(characters, at);
    return next == text.npos ? text.size() : next;
}

// "A man", "I think": the letter is a word, and a sentence goes on behind it.
bool is_english_word(std::string_view text, size_t at) {
    if (text[at] != 'A' && text[at] != 'I') return false;
    const size_t next = skip(text, at + 1, " ");
    return next > at + 1 && next < text.size() && (is_word(text[next]) || text[next] == '\'');
}

// The option whose letter stands alone at `at`, behind `before`.
std::optional<size_t> letter_at(std::string_view text, size_t at, size_t n_options) {
    if (at >= text.size() || (at > 0 && is_word(text[at - 1])) || is_word(at_or_space(text, at + 1)))
        return std::nullopt;
    const char upper = static_cast<char>(std::toupper(static_cast<unsigned char>(text[at])));
    if (upper < 'A' || static_cast<size_t>(upper - 'A') >= n_options) return std::nullopt;
    if (text[at] == upper) return is_english_word(text, at) ? std::nullopt : std::optional<size_t>(upper - 'A');
    const bool marked = std::string_view(")].:*\"'`").find(at_or_space(text, at + 1)) != std::string_view::npos;
    const bool last = skip(text, at + 1, kSpace) == text.size();
    return marked || last ? std::optional<size_t>(upper - 'A') : std::nullopt;
}

// Behind "answer", then perhaps "is", "option" and the like, a colon, brackets.
std::optional<size_t> behind_the_word_answer(std::string_view text, size_t n_options) {
    constexpr std::string_view kAnswer = "answer", kFillers[] = {"is", "would be", "option", "choice"};
    std::string lower(text);
    for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    for (size_t found = lower.find(kAnswer); found != lower.npos; found = lower.find(kAnswer, found + 1)) {
        const auto skip_marks = [&](size_t from) { return skip(text, from, " \t\r\n*_`\"'([{:="); };
        size_t at = skip_marks(found + kAnswer.size());
        for (const std::string_view filler : kFillers)
            if (lower.compare(at, filler.size(), filler) == 0 && !is_word(at_or_space(lower, at + filler.size())))
                at = skip_marks(at + filler.size());
        if (const auto option = letter_at(text, at, n_options)) return option;
    }
    return std::nullopt;
}

std::optional<size_t> in_brackets(std::string_view text, size_t n_options) {
    for (size_t open = text.find('('); open != text.npos; open = text.find('(', open + 1))
        if (at_or_space(text, open + 2) == ')')
            if (const auto option = letter_at(text, open + 1, n_options)) return option;
    return std::nullopt;
}

std::optional<size_t> standing_alone(std::string_view text, size_t n_options) {
    for (size_t at = 0; at < text.size(); ++at)
        if (text[at] >= 'A' && text[at] <= 'Z')
            if (const auto option = letter_at(text, at, n_options)) return option;
    return std::nullopt;
}

}  // namespace

std::optional<size_t> answer_choice(std::string_view answer, size_t n_options) {
    require(n_options <= kMostOptions, "there are ", n_options, " options, but only ", kMostOptions, " letters");
    if (const auto option = letter_at(answer, skip(answer, 0, kDecoration), n_options)) return option;
    if (const auto option = behind_the_word_answer(answer, n_options)) return option;
    if (const auto option = in_brackets(answer, n_options)) return option;
    return standing_alone(answer, n_options);
}

}  // namespace llmc
