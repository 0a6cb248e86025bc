#include "quaff/run/compare/table.h"

#include <algorithm>
#include <set>

#include "llmc/core/bytes.h"
#include "llmc/core/error.h"
#include "llmc/system/terminal.h"
#include "quaff/run/evaluation.h"

namespace quaff {

using namespace llmc;

namespace {

constexpr const char* kUnknown = "-";

// The task's metrics among the figures of the methods, in their order.
std::vector<std::string> metric_names(const Comparison& comparison) {
    const std::set<std::string> common = {"loss",     "perplexity", "token_accuracy", "labelled_tokens",
                                          "examples", "kl_to_fp"};
    const auto is_task_metric = [&](const std::string& name) {
        return !common.contains(name) && !name.starts_with("gradient_");
    };
    std::vector<std::string> names;
    for (const MethodResult& result : comparison.methods)
        for (const auto& [name, value] : result.before)
            if (is_task_metric(name) && std::ranges::find(names, name) == names.end()) names.push_back(name);
    return names;
}

std::string figure_text(const std::string& name, double value) {
    if (name == "kl_to_fp") return format_divergence(value);
    if (name == "loss") return format("%.4f", value);
    if (name.find("perplexity") != std::string::npos) return format("%.4g", value);
    return format("%.1f%%", 100 * value);
}

std::string figure_text(const Figures& figures, const std::string& name) {
    const std::optional<double> value = figure(figures, name);
    return value ? figure_text(name, *value) : kUnknown;
}

std::string seconds_text(const std::optional<double>& seconds) {
    return seconds ? format(*seconds < 10 ? "%.4f" : "%.2f", *seconds) : kUnknown;
}
std::string memory_text(int64_t bytes) {
    return bytes > 0 ? format_bytes(bytes) : kUnknown;
}

// "exact_match" -> "exact", in at most 7 letters.
std::string short_name(const std::string& metric) {
    return metric.substr(0, std::min<size_t>(metric.find('_'), 7));
}

constexpr const char* kRow = "%-15s %8s %7s %7s %7s %7s %10s %10s";

std::string table_row(const std::string& first, const std::vector<std::string>& cells) {
    std::string row = format(kRow, first.c_str(), cells[0].c_str(), cells[1].c_str(), cells[2].c_str(),
                             cells[3].c_str(), cells[4].c_str(), cells[5].c_str(), cells[6].c_str());
    row.erase(row.find_last_not_of(' ') + 1);
    return row + "\n";
}

std::string table_rows(const Comparison& comparison, bool after, const std::string& metric) {
    std::string rows = stage_title(comparison, after) + "\n";
    const bool with_costs = after || !comparison.trains();
    for (const MethodResult& result : comparison.methods) {
        const Figures figures = after ? result.mean_after() : result.before;
        std::vector<std::string> cells = {figure_text(figures, "kl_to_fp"), figure_text(figures, "loss"),
                                          figure_text(figures, "token_accuracy"),
                                          metric.empty() ? "" : figure_text(figures, metric)};
        if (with_costs)
            cells.insert(cells.end(), {seconds_text(result.median_seconds()), memory_text(result.planned_memory()),
                                       memory_text(result.peak_memory())});
        cells.resize(7);
        rows += table_row(" " + result.method, cells);
    }
    return rows;
}

// ---- Markdown ----

std::string markdown_row(const std::vector<std::string>& cells) {
    std::string row = "|";
    for (const std::string& cell : cells) row += " " + cell + " |";
    return row + "\n";
}

std::string markdown_head(const std::vector<std::string>& titles) {
    std::vector<std::string> rule(titles.size(), "---:");
    rule[0] = "---";
    return markdown_row(titles) + markdown_row(rule);
}

// "1.5140 (1.5101 to 1.5190)": the mean, and the range over the seeds if there are several.
std::string with_range(const MethodResult& result, const Figures& means, const std::string& name) {
    std::string text = figure_text(means, name);
    const std::vector<double> values = result.after(name);
    if (means.empty() || values.size() < 2) return text;
    const auto [low, high] = std::ranges::minmax(values);
    return concat(text, " (", figure_text(name, low), " to ", figure_text(name, high), ")");
}

std::string markdown_figures(const Comparison& comparison, bool after) {
    std::vector<std::string> names = {"kl_to_fp", "loss", "perplexity", "token_accuracy"};
    const std::vector<std::string> metrics = metric_names(comparison);
    names.insert(names.end(), metrics.begin(), metrics.end());
    std::vector<std::string> titles = {"method"};
    for (const std::string& name : names) {
        titles.push_back(name == "kl_to_fp" ? "KL to fp" : name);
        if (name != "kl_to_fp") std::ranges::replace(titles.back(), '_', ' ');
    }
    std::string text = concat("## ", stage_title(comparison, after), "\n\n", markdown_head(titles));
    text[3] = static_cast<char>(std::toupper(static_cast<unsigned char>(text[3])));
    for (const MethodResult& result : comparison.methods) {
        const Figures figures = after ? result.mean_after() : result.before;
        std::vector<std::string> cells = {result.method};
        for (const std::string& name : names)
            cells.push_back(after ? with_range(result, figures, name) : figure_text(figures, name));
        text += markdown_row(cells);
    }
    return text + "\n";
}

// The adapters' gradients beside those of full precision, where they were compared.
std::string markdown_gradients(const Comparison& comparison, bool after) {
    std::vector<std::string> names;
    for (const MethodResult& result : comparison.methods)
        for (const auto& [name, value] : after ? result.mean_after() : result.before)
            if (name.starts_with("gradient_") && std::ranges::find(names, name) == names.end()) names.push_back(name);
    if (names.empty()) return "";
    std::vector<std::string> titles = {"method"};
    for (const std::string& name : names) {
        const size_t dot = name.find('.');
        titles.push_back(dot != name.npos ? name.substr(dot + 1) : name == "gradient_cosine" ? "cosine" : "error");
    }
    std::string text = concat("## Gradients ", stage_title(comparison, after), "\n\n", markdown_head(titles));
    for (const MethodResult& result : comparison.methods) {
        const Figures figures = after ? result.mean_after() : result.before;
        std::vector<std::string> cells = {result.method};
        for (const std::string& name : names) {
            const std::optional<double> value = figure(figures, name);
            cells.push_back(!value                      ? kUnknown
                            : name == "gradient_cosine" ? format("%.5f", *value)
                                                        : format("%.2f%%", 100 * *value));
        }
        text += markdown_row(cells);
    }
    return text + "\n";
}

std::string markdown_costs(const Comparison& comparison) {
    const auto full = std::ranges::find(comparison.methods, "fp", &MethodResult::method);
    const std::optional<double> of_fp = full == comparison.methods.end() ? std::nullopt : full->median_seconds();
    std::string text =
        "## A step\n\n" + markdown_head({"method", "seconds", "times those of fp", "planned memory", "peak memory"});
    for (const MethodResult& result : comparison.methods) {
        const std::optional<double> seconds = result.median_seconds();
        text += markdown_row({result.method, seconds_text(seconds),
                              seconds && of_fp ? format("%.2f", *seconds / *of_fp) : kUnknown,
                              memory_text(result.planned_memory()), memory_text(result.peak_memory())});
    }
    return text + "\n";
}

}  // namespace

std::string stage_title(const Comparison& comparison, bool after) {
    if (!after) return "before training";
    const std::string steps = comparison.steps > 0 ? counted(comparison.steps, "step") : std::string("training");
    return concat("after ", steps, comparison.seeds > 1 ? concat(", mean of ", comparison.seeds, " seeds") : "");
}

std::string comparison_table(const Comparison& comparison) {
    const std::vector<std::string> metrics = metric_names(comparison);
    const std::string metric = metrics.empty() ? "" : metrics.front();
    std::string table =
        table_row("method", {"KL to fp", "loss", "tokens", short_name(metric), "s/step", "planned", "peak"});
    table += table_rows(comparison, /*after=*/false, metric);
    if (comparison.trains()) table += table_rows(comparison, /*after=*/true, metric);
    return table;
}

std::string comparison_markdown(const Comparison& comparison) {
    std::string text = concat("# Methods compared on ", comparison.model, "\n\n");
    const Figures* evaluated = nullptr;
    for (const MethodResult& result : comparison.methods)
        if (!evaluated && !result.before.empty()) evaluated = &result.before;
    if (evaluated)
        text += concat(format_count(static_cast<int64_t>(figure(*evaluated, "labelled_tokens").value_or(0))),
                       " labelled tokens of ",
                       counted(static_cast<int64_t>(figure(*evaluated, "examples").value_or(0)), "example"), ". ");
    text +=
        "KL to fp: the mean over the labelled tokens of KL(p_fp || p_method), in nats; fp is the same model, with the "
        "same adapter, in full precision. Seconds: the median of all steps but the first ones of a run; the runs of "
        "the methods alternate. Memory: of a training step.\n\n";
    for (const bool after : {false, true}) {
        if (after && !comparison.trains()) continue;
        text += markdown_figures(comparison, after);
        text += markdown_gradients(comparison, after);
    }
    text += markdown_costs(comparison);
    text += "## Commands\n\n```sh\n";
    for (const std::string& command : comparison.commands) text += command + "\n";
    return text + "```\n";
}

}  // namespace quaff
