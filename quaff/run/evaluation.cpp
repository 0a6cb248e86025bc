#include "quaff/run/evaluation.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "llmc/core/error.h"
#include "llmc/system/terminal.h"

namespace quaff {

using namespace llmc;

namespace {

constexpr double kShortAnswer = 32;  // tokens, on average
constexpr int64_t kFewExamples = 1000;

// The double nearest to its own %.9g: enough digits to tell any two floats apart, and no more.
double nine_digits(double value) {
    return std::isfinite(value) ? std::stod(format_loss(value)) : value;
}

}  // namespace

double Evaluation::loss() const {
    return labelled > 0 ? loss_sum / static_cast<double>(labelled) : 0;
}
double Evaluation::perplexity() const {
    return std::exp(loss());
}
double Evaluation::token_accuracy() const {
    return labelled > 0 ? static_cast<double>(correct) / static_cast<double>(labelled) : 0;
}
double Evaluation::exact_match() const {
    return examples > 0 ? static_cast<double>(exact.value_or(0)) / static_cast<double>(examples) : 0;
}
double Evaluation::kl_to_fp() const {
    return labelled > 0 ? divergence_sum.value_or(0) / static_cast<double>(labelled) : 0;
}

GradientComparison Evaluation::all_gradients() const {
    GradientComparison all;
    for (const auto& [kind, comparison] : gradients) all.add(comparison);
    return all;
}

nlohmann::ordered_json to_json(const Evaluation& evaluation) {
    nlohmann::ordered_json object = {{"loss", nine_digits(evaluation.loss())},
                                     {"perplexity", nine_digits(evaluation.perplexity())},
                                     {"token_accuracy", nine_digits(evaluation.token_accuracy())},
                                     {"labelled_tokens", evaluation.labelled},
                                     {"examples", evaluation.examples}};
    if (evaluation.divergence_sum) object["kl_to_fp"] = nine_digits(evaluation.kl_to_fp());
    if (!evaluation.gradients.empty()) {
        object["gradient_error"] = nine_digits(evaluation.all_gradients().relative_error());
        object["gradient_cosine"] = nine_digits(evaluation.all_gradients().cosine());
        for (const auto& [kind, comparison] : evaluation.gradients)
            object["gradient_error." + kind] = nine_digits(comparison.relative_error());
    }
    if (evaluation.exact) object["exact_match"] = nine_digits(evaluation.exact_match());
    for (const MetricValue& value : evaluation.task) object[value.name()] = nine_digits(value.value());
    return object;
}

double loss_increase(const nlohmann::ordered_json& before, const Evaluation& after) {
    if (!before.is_object() || !before.contains("loss") || !before["loss"].is_number()) return 0;
    return nine_digits(after.loss()) - before["loss"].get<double>();
}

std::string in_words(const Evaluation& evaluation) {
    std::string words = format("loss %.4f, perplexity %.4g, token accuracy %.1f%%", evaluation.loss(),
                               evaluation.perplexity(), 100 * evaluation.token_accuracy());
    if (evaluation.divergence_sum) words += ", KL to fp " + format_divergence(evaluation.kl_to_fp());
    if (!evaluation.gradients.empty())
        words += format(", gradient error %.2f%%", 100 * evaluation.all_gradients().relative_error());
    if (evaluation.exact) words += format(", exact match %.1f%%", 100 * evaluation.exact_match());
    for (const MetricValue& value : evaluation.task) words += ", " + value.in_words();
    return words;
}

std::string format_divergence(double kl) {
    if (kl == 0) return "0";
    const bool in_thousandths = std::abs(kl) >= 1e-6 && std::abs(kl) < 1;
    return in_thousandths ? format("%.3ge-3", 1e3 * kl) : format("%.3g", kl);
}

bool wants_exact_match(Toggle option, const Dataset& data, bool train_on_source) {
    const bool possible = !train_on_source && !data.texts.empty() &&
                          std::all_of(data.texts.begin(), data.texts.end(),
                                      [](const SourceTarget& text) { return !text.source.empty(); });
    if (option == Toggle::on && !possible)
        throw UsageError(
            "--exact-match on: there is no answer to compare; it needs examples with a source and a target, and no "
            "--train-on-source");
    const bool cheap = data.size() <= kFewExamples &&
                       static_cast<double>(data.n_labelled()) <= kShortAnswer * static_cast<double>(data.size());
    return possible && (option == Toggle::on || (option == Toggle::automatic && cheap));
}

}  // namespace quaff
