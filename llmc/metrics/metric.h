// The metrics of a task: how good an answer is, beyond the loss of its tokens.
//
//   exact_match                 the answer is the true one, token for token
//   choice_accuracy             the letter in the answer is that of the right option (choice.h)
//   choice_likelihood_accuracy  of all options, the right one is likeliest per byte
//   numeric_accuracy            the number in the answer is the true one (numeric.h)
//   rouge_l                     share of common words in common order (rouge.h)
//   word_perplexity             exp(-sum log p(token) / number of words) of whole texts (words.h)
#pragma once

#include "llmc/core/named.h"

namespace llmc {

enum class Metric {
    exact_match,
    choice_accuracy,
    choice_likelihood_accuracy,
    numeric_accuracy,
    rouge_l,
    word_perplexity,
};

// The names are keys of JSON objects.
inline constexpr Named<Metric> kMetricNames[] = {{"exact_match", Metric::exact_match},
                                                 {"choice_accuracy", Metric::choice_accuracy},
                                                 {"choice_likelihood_accuracy", Metric::choice_likelihood_accuracy},
                                                 {"numeric_accuracy", Metric::numeric_accuracy},
                                                 {"rouge_l", Metric::rouge_l},
                                                 {"word_perplexity", Metric::word_perplexity}};

// Whether the metric compares an answer that the model has written.
constexpr bool needs_answer(Metric metric) {
    return metric == Metric::choice_accuracy || metric == Metric::numeric_accuracy || metric == Metric::rouge_l;
}

}  // namespace llmc
