// Cuts a template into tokens: what stands between the tags, and the words inside them. Here the blanks around tags go:
// a newline behind a block tag (trim_blocks), blanks in front of one that begins its line (lstrip_blocks), and whatever
// the marks `-` and `+` ask for.
#pragma once

#include <string_view>
#include <vector>

#include "llmc/jinja/syntax/nodes.h"

namespace llmc::jinja::syntax {

struct Token {
    enum class Kind : uint8_t {
        text,            // between tags
        variable_begin,  // {{
        variable_end,
        block_begin,  // {%
        block_end,
        name,
        string,   // `text` is what it stands for
        integer,  // `value`
        floating,
        symbol,  // operators and brackets
        end,     // of the template
    };
    Kind kind;
    Position position;
    std::string_view text;
    Value value = {};

    bool is_symbol(std::string_view symbol) const { return kind == Kind::symbol && text == symbol; }
    bool is_name(std::string_view name) const { return kind == Kind::name && text == name; }
};

// The tokens of program.source; the last one is `end`. Throws Error for what is no token of the language.
std::vector<Token> tokenize(Program& program);

// A template's source as jinja2 reads it: each line end becomes "\n", and one at the very end is dropped.
std::string normalize_source(std::string_view source);

}  // namespace llmc::jinja::syntax
