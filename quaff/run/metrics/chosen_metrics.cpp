#include "quaff/run/metrics/chosen_metrics.h"

#include <algorithm>

#include "llmc/core/error.h"
#include "llmc/metrics/numeric.h"
#include "quaff/run/evaluation.h"
#include "quaff/run/metrics/answers.h"
#include "quaff/run/metrics/metric_list.h"

namespace quaff {
namespace {

// Why an example has nothing that the metric could compare; "" if it has.
std::string lacks(Metric metric, const Example& example, const SourceTarget& text) {
    if (text.continues) return "";  // the example where the text begins has it
    if (metric == Metric::word_perplexity)
        return text.source.empty() && !text.target.empty() ? "" : "is not a plain text";
    if (!has_prompt(example, text)) return "has no prompt to answer";
    if (metric == Metric::choice_accuracy || metric == Metric::choice_likelihood_accuracy)
        return text.choices.empty() ? "is no question with options" : "";
    if (metric == Metric::numeric_accuracy)
        return text.target.empty() || answer_number(text.target) ? "" : "has no number in its answer";
    return "";
}

// "example 3 has no prompt to answer": the first example that lacks something; "" if none does.
std::string first_lack(Metric metric, const Dataset& data, bool train_on_source) {
    if (train_on_source && metric != Metric::word_perplexity) return "with --train-on-source examples have no prompt";
    for (size_t i = 0; i < data.examples.size(); ++i)
        if (const std::string lack = lacks(metric, data.examples[i], data.texts[i]); !lack.empty())
            return concat(data.place(static_cast<int64_t>(i)), " ", lack);
    return "";
}

}  // namespace

std::vector<Metric> chosen_metrics(const DataOptions& options, const Dataset& data, bool train_on_source,
                                   Terminal& terminal) {
    const bool of_format = options.metrics == kMetricsOfFormat, none = options.metrics == kNoMetrics;
    std::vector<Metric> wanted, metrics;
    if (of_format && data.format) wanted = data.format->metrics;
    if (!of_format && !none) wanted = parse_metrics(options.metrics);

    // Exact matches have an option of their own, which decides unless a list of metrics does.
    Toggle exact = options.exact_match;
    if (std::erase(wanted, Metric::exact_match) > 0) exact = Toggle::on;
    if (!of_format && exact == Toggle::automatic) exact = Toggle::off;
    if (wants_exact_match(exact, data, train_on_source)) metrics.push_back(Metric::exact_match);

    for (const Metric metric : wanted) {
        const std::string lack = first_lack(metric, data, train_on_source);
        if (!lack.empty() && !of_format)
            throw UsageError(concat("--metrics ", name_in(kMetricNames, metric), ": ", lack));
        if (lack.empty())
            metrics.push_back(metric);
        else
            terminal.warn(concat(title_of(metric), " is not taken: ", lack));
    }
    std::ranges::sort(metrics);
    return metrics;
}

}  // namespace quaff
