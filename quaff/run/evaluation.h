// How well a model predicts the labelled tokens of a data set.
//
//   loss            sum of the cross-entropies of all labelled tokens / their number
//   perplexity      exp(loss)
//   token_accuracy  share of labelled tokens that are the likeliest one
//   exact_match     share of answers that greedy decoding gives token for token
//   kl_to_fp        mean over the labelled tokens of KL(p_fp || p) in nats, if it was measured: how far the model is
//                   from the same one with its frozen linears in full precision
//   gradient_error  |g - f| / |f|, if it was measured: g the adapters' gradients, f those of the same model in full
//                   precision; gradient_error.down_proj and its like: of one kind of linear; gradient_cosine: the
//                   cosine between them (gradient_error.h)
//   task            the other metrics of llmc/metrics/metric.h, where they were asked for
//
// Greedy decoding gives the true answer exactly when the likeliest token after each part of that answer is its next
// one. One pass over the data tells; nothing has to be generated.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "llmc/data/examples.h"
#include "quaff/run/gradient_error.h"
#include "quaff/run/metrics/metric_value.h"
#include "quaff/run/options.h"

namespace quaff {

struct Evaluation {
    double loss_sum = 0;
    int64_t labelled = 0, correct = 0;
    int64_t examples = 0;
    std::optional<double> divergence_sum;                 // of kl_to_fp, over the labelled tokens
    std::map<std::string, GradientComparison> gradients;  // by kind of linear, if they were compared
    std::optional<int64_t> exact;                         // answers that are right as a whole, if they were counted
    std::vector<int64_t> is_exact;                        // 1 for each of these, by position in the data set; else 0
    std::vector<MetricValue> task;

    double loss() const;
    double perplexity() const;
    double token_accuracy() const;
    double exact_match() const;
    double kl_to_fp() const;
    GradientComparison all_gradients() const;
};

// {"loss", "perplexity", "token_accuracy", "labelled_tokens", "examples"} and, when known, "kl_to_fp",
// "gradient_error", "exact_match" and the metrics of the task under their names.
nlohmann::ordered_json to_json(const Evaluation& evaluation);
// How much larger the loss is than in `before`, an earlier to_json(); 0 if that has none.
double loss_increase(const nlohmann::ordered_json& before, const Evaluation& after);
// "loss 1.2345, perplexity 3.44, token accuracy 71.2%, KL to fp 2.35e-3, exact match 83.0%"
std::string in_words(const Evaluation& evaluation);

// In thousandths, as methods are compared: 0.00235 -> "2.35e-3"; 0 -> "0"; very small and large ones
// as they are.
std::string format_divergence(double kl);

// Whether to count exact matches. Toggle::automatic: if every example has a source and a target, targets have at most
// 32 tokens on average, and there are at most 1000 examples. Throws UsageError if "on" has nothing to compare.
bool wants_exact_match(Toggle option, const llmc::Dataset& data, bool train_on_source);

}  // namespace quaff
