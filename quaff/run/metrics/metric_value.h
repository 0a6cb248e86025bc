// The value of one metric over some examples, and how it is written.
#pragma once

#include <cstdint>
#include <string>

#include "llmc/metrics/metric.h"

namespace quaff {

// Sums over examples: their values and their number. For word_perplexity: -log p of their texts and their words.
struct MetricValue {
    llmc::Metric metric;
    double sum = 0;
    int64_t count = 0;

    // sum / count, or exp of it for word_perplexity; 0 without examples.
    double value() const;
    const char* name() const { return name_in(llmc::kMetricNames, metric); }
    // Whether the value is a share: its words and tables show percents.
    bool is_share() const { return metric != llmc::Metric::word_perplexity; }
    // "numeric accuracy 12.5%", "word perplexity 23.42".
    std::string in_words() const;
};

// "numeric_accuracy" -> "numeric accuracy".
std::string title_of(llmc::Metric metric);

}  // namespace quaff
