#include "llmc/jinja/syntax/lexer.h"

#include <algorithm>
#include <array>

#include "llmc/jinja/syntax/literals.h"
#include "llmc/jinja/text/letters.h"
#include "llmc/jinja/text/text.h"

namespace llmc::jinja::syntax {
namespace {

bool is_blank_at(std::string_view source, size_t at) {
    return at < source.size() && text::is_space(text::first_character(source.substr(at)).code_point);
}

class Lexer {
  public:
    explicit Lexer(Program& program) : program_(program), source_(program.source) {}

    std::vector<Token> run() {
        while (at_ < source_.size()) outside();
        add(Token::Kind::end, source_.size(), {});
        return std::move(tokens_);
    }

  private:
    [[noreturn]] void fail(size_t position, const std::string& sentence) const {
        program_.fail_at(static_cast<Position>(position), sentence);
    }

    void add(Token::Kind kind, size_t position, std::string_view text, const Value& value = {}) {
        tokens_.push_back({kind, static_cast<Position>(position), text, value});
    }

    bool next_is(std::string_view text) const { return source_.substr(at_).starts_with(text); }

    void skip_blanks() {
        while (is_blank_at(source_, at_)) at_ += text::first_character(source_.substr(at_)).bytes;
    }

    // Text up to the next tag, and that tag.
    void outside() {
        const size_t begin = at_, tag = find_tag(begin);
        if (tag == source_.npos) {
            add_text(begin, source_.substr(begin));
            at_ = source_.size();
            return;
        }
        const char kind = source_[tag + 1];
        const char mark = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
        add_text(begin, strip_before(begin, tag, mark, kind == '{'));
        at_ = tag + (mark == '-' || mark == '+' ? 3 : 2);
        if (kind == '#') return comment(tag);
        if (kind == '{') return inside(tag, Token::Kind::variable_begin, Token::Kind::variable_end);
        if (begins_raw()) return raw(tag);
        inside(tag, Token::Kind::block_begin, Token::Kind::block_end);
    }

    size_t find_tag(size_t from) const {
        for (size_t at = source_.find('{', from); at != source_.npos; at = source_.find('{', at + 1)) {
            const char next = at + 1 < source_.size() ? source_[at + 1] : '\0';
            if (next == '{' || next == '%' || next == '#') return at;
        }
        return source_.npos;
    }

    void add_text(size_t begin, std::string_view text) {
        if (!text.empty()) add(Token::Kind::text, begin, text);
    }

    // The text [begin, tag) without the blanks that the tag behind it takes away.
    std::string_view strip_before(size_t begin, size_t tag, char mark, bool variable) const {
        const std::string_view text = source_.substr(begin, tag - begin);
        if (mark == '-') return text::strip_right(text);
        if (mark == '+' || variable) return text;
        const size_t line = text.rfind('\n') + 1;
        const bool begins_line = line > 0 || begin == 0 || source_[begin - 1] == '\n';
        if (!begins_line || !text::strip_left(text.substr(line)).empty()) return text;
        return text.substr(0, line);
    }

    // Behind a tag: `-` takes all blanks, nothing takes one newline, `+` takes none.
    void strip_after(char mark, bool newline) {
        if (mark == '-') return skip_blanks();
        if (mark != '+' && newline && next_is("\n")) ++at_;
    }

    void comment(size_t tag) {
        const size_t end = source_.find("#}", at_);
        if (end == source_.npos) fail(tag, "the comment is not closed: a '#}' is missing");
        const char mark = end > at_ ? source_[end - 1] : '\0';
        at_ = end + 2;
        strip_after(mark, true);
    }

    // {% raw %} or {% raw -%}; `at_` then stands behind it.
    bool begins_raw() {
        const size_t before = at_;
        skip_blanks();
        if (next_is("raw")) {
            at_ += 3;
            skip_blanks();
            const bool strips = next_is("-%}");
            if (strips || next_is("%}")) {
                at_ += strips ? 3 : 2;
                if (strips) skip_blanks();
                return true;
            }
        }
        at_ = before;
        return false;
    }

    void raw(size_t tag) {
        const size_t begin = at_;
        for (size_t end = source_.find("{%", begin); end != source_.npos; end = source_.find("{%", end + 1)) {
            at_ = end + 2;
            const char mark = next_is("-") || next_is("+") ? source_[at_++] : '\0';
            skip_blanks();
            if (!next_is("endraw")) continue;
            at_ += 6;
            skip_blanks();
            const char close = next_is("-%}") || next_is("+%}") ? source_[at_++] : '\0';
            if (!next_is("%}")) continue;
            at_ += 2;
            add_text(begin, strip_before(begin, end, mark, false));
            return strip_after(close, true);
        }
        fail(tag, "the raw block is not closed: {% endraw %} is missing");
    }

    // The words of a tag, up to its end.
    void inside(size_t tag, Token::Kind begin, Token::Kind end) {
        add(begin, tag, source_.substr(tag, 2));
        const bool block = end == Token::Kind::block_end;
        brackets_.clear();
        for (;;) {
            if (brackets_.empty() && close(block, end)) return;
            if (at_ == source_.size())
                fail(tag,
                     block ? "the tag is not closed: a '%}' is missing" : "the tag is not closed: a '}}' is missing");
            word();
        }
    }

    bool close(bool block, Token::Kind end) {
        const std::string_view closing = block ? "%}" : "}}";
        const bool marked = next_is("-") || (block && next_is("+"));
        if (!source_.substr(at_ + (marked ? 1 : 0)).starts_with(closing)) return false;
        const char mark = marked ? source_[at_] : '\0';
        add(end, at_, closing);
        at_ += marked ? 3 : 2;
        strip_after(mark, block);
        return true;
    }

    void word() {
        if (is_blank_at(source_, at_)) return skip_blanks();
        const char c = source_[at_];
        if (c >= '0' && c <= '9') return number();
        if (c == '\'' || c == '"') return string();
        const text::Character character = text::first_character(source_.substr(at_));
        if (text::is_word(character.code_point)) return name();
        symbol();
    }

    void name() {
        const size_t begin = at_;
        bool identifier = text::begins_identifier(text::first_character(source_.substr(at_)).code_point);
        while (at_ < source_.size()) {
            const text::Character c = text::first_character(source_.substr(at_));
            if (!text::is_word(c.code_point)) break;
            identifier = identifier && text::continues_identifier(c.code_point);
            at_ += c.bytes;
        }
        if (!identifier) fail(begin, "the name has a character that no name may have");
        add(Token::Kind::name, begin, source_.substr(begin, at_ - begin));
    }

    void number() {
        const bool fraction_before = at_ > 0 && source_[at_ - 1] == '.';
        const NumberLiteral literal = read_number(source_.substr(at_), !fraction_before);
        if (literal.too_large) fail(at_, "the integer has more than 128 bits");
        add(literal.value.is(Kind::floating) ? Token::Kind::floating : Token::Kind::integer, at_,
            source_.substr(at_, literal.bytes), literal.value);
        at_ += literal.bytes;
    }

    void string() {
        const size_t begin = at_;
        const char quote = source_[at_];
        bool escaped = false;
        for (++at_; at_ < source_.size() && source_[at_] != quote; ++at_) {
            if (source_[at_] != '\\') continue;
            escaped = true;
            if (++at_ == source_.size()) break;
        }
        if (at_ >= source_.size()) fail(begin, "the string is not closed");
        std::string_view text = source_.substr(begin + 1, at_ - begin - 1);
        ++at_;
        if (escaped) {
            std::string error;
            program_.strings.push_back(unescape(text, error));
            if (!error.empty()) fail(begin, error);
            text = program_.strings.back();
        }
        add(Token::Kind::string, begin, text);
    }

    void symbol() {
        constexpr std::array<std::string_view, 26> kSymbols{"//", "**", "==", "!=", ">=", "<=", "+", "-", "/",
                                                            "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                                            ">",  "<",  "=",  ".",  ":",  "|",  ",", ";"};
        const auto symbol = std::ranges::find_if(kSymbols, [&](std::string_view s) { return next_is(s); });
        if (symbol == kSymbols.end()) fail(at_, "a tag may not hold this character");
        balance((*symbol)[0], at_);
        add(Token::Kind::symbol, at_, source_.substr(at_, symbol->size()));
        at_ += symbol->size();
    }

    // Brackets close in the order in which they were opened. Only outside all of them a tag can end.
    void balance(char symbol, size_t at) {
        switch (symbol) {
            case '(':
                brackets_ += ')';
                return;
            case '[':
                brackets_ += ']';
                return;
            case '{':
                brackets_ += '}';
                return;
            case ')':
            case ']':
            case '}':
                break;
            default:
                return;
        }
        if (brackets_.empty()) fail(at, concat("there is a '", symbol, "' too many"));
        if (brackets_.back() != symbol)
            fail(at, concat("here stands a '", symbol, "' where '", brackets_.back(), "' closes"));
        brackets_.pop_back();
    }

    Program& program_;
    std::string_view source_;
    size_t at_ = 0;
    std::string brackets_;  // those that are open, by what closes them
    std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(Program& program) {
    return Lexer(program).run();
}

std::string normalize_source(std::string_view source) {
    std::string normal;
    normal.reserve(source.size());
    for (size_t i = 0; i < source.size(); ++i) {
        if (source[i] != '\r')
            normal += source[i];
        else if (i + 1 == source.size() || source[i + 1] != '\n')
            normal += '\n';
    }
    if (normal.ends_with('\n')) normal.pop_back();
    return normal;
}

}  // namespace llmc::jinja::syntax
