// Hugging Face's tokenizers run the regular expressions of tokenizer.json through Oniguruma (Ruby syntax, UTF-8), this
// project through PCRE2. Most of what pre-tokenizers use is common to both; what is not is rewritten, or refused by
// name.
//
//   written                     becomes                            because in PCRE2
//   ^ $                         (?m:^) (?m:$)                      they mean the text's ends, in Ruby the line's
//   \s \S                       \p{White_Space} ..                 \s includes U+180E
//   \w \W [[:word:]] \b \B      sets of properties, look-around    \w has no marks
//   \h \H \v \uXXXX {,n}        hex digits, U+000B, \x{XXXX} {0,n} they mean something else, or nothing
//   [[:alpha:]] [[:punct:]] ..  sets of properties                 .. differ in symbols and marks
//   \p{Han} \p{Letter} ..       \p{sc:Han} \p{L} ..                a script's name means its extensions, too
//   (?m) (?i)a|b                (?s:..) (?i:a|b)                   m is another option, and | ends no option
//   [a[bc]]                     [abc]                              sets do not nest
#pragma once

#include <string>

namespace llmc {

// `pattern` as PCRE2 is to read it. Throws Error naming what is not supported; `where` begins it.
std::string oniguruma_to_pcre2(const std::string& pattern, const std::string& where);

}  // namespace llmc
