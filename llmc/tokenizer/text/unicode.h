// Rewrites a text by Unicode's rules, as the normalizers of tokenizer.json do: normal forms (Unicode Standard Annex
// 15), lower case, accents. The tables are libutf8proc's.
#pragma once

#include "llmc/tokenizer/text/aligned_text.h"

namespace llmc {

enum class NormalForm { nfc, nfd, nfkc, nfkd };

// How many times as long as the text the result may be, in bytes: U+FDFA, three bytes, is 33 in the compatible forms,
// U+0390 and U+1D160 are three times as long in the others.
double growth_of(NormalForm form);

void to_normal_form(AlignedText& text, NormalForm form);

// Character by character, whatever stands around it: a sigma that ends a word becomes like any other. U+0130, the
// capital I with a dot, becomes i and U+0307; a result is up to 1.5 times as long.
void to_lower_case(AlignedText& text);

// Drops the characters of category M. Only a decomposed text has its accents as such.
void drop_marks(AlignedText& text);

}  // namespace llmc
