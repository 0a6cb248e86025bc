// ROUGE-L of an answer against the true one (Lin 2004), as the Python package rouge-score computes rougeL with its
// default tokenizer and without a stemmer.
//
//   words          maximal runs of a-z and 0-9 in the text, in lower case
//   L              length of the longest common subsequence of the two lists of words
//   P = L / words of the answer,  R = L / words of the true answer
//   ROUGE-L        the F-measure 2 P R / (P + R); 0 when L is 0
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace llmc {

std::vector<std::string> rouge_words(std::string_view text);

// From 0 to 1. Takes time proportional to the product of both numbers of words.
double rouge_l(std::string_view answer, std::string_view truth);

}  // namespace llmc
