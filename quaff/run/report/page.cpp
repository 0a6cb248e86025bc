#include "quaff/run/report/page.h"

#include <algorithm>
#include <cmath>

#include "llmc/core/error.h"
#include "llmc/core/markup.h"
#include "llmc/core/median.h"
#include "llmc/io/path.h"
#include "llmc/system/terminal.h"
#include "quaff/run/report/curve.h"
#include "quaff/run/report/page_parts.h"
#include "quaff/run/report/page_style.h"

namespace quaff {

using namespace llmc;

namespace {

constexpr int kNameCharacters = 120;

std::string tile(const std::string& value, const std::string& what) {
    return "<div class=\"tile\"><b>" + escape_markup(value) + "</b><span>" + what + "</span></div>\n";
}

// Of the steps that say it; NaN if none does.
double median_of(const std::vector<LoggedStep>& steps, double LoggedStep::*field) {
    std::vector<double> values;
    for (const LoggedStep& step : steps)
        if (std::isfinite(step.*field)) values.push_back(step.*field);
    return values.empty() ? NAN : median(values);
}

std::string change(const RunLog& run, const char* metric, Unit unit) {
    const auto& all = run.evaluations();
    if (all.empty() || !all.front().figures.contains(metric) || !all.back().figures.contains(metric)) return "";
    const std::string before = axis_text(all.front().figures.at(metric), unit),
                      after = axis_text(all.back().figures.at(metric), unit);
    return all.size() == 1 ? after : concat(before, " \u2192 ", after);
}

std::string tiles_of(const RunLog& run) {
    if (run.steps().empty()) return "<p class=\"weak\">No step has been taken yet.</p>\n";
    const std::vector<LoggedStep>& steps = run.steps();
    const LoggedStep& last = steps.back();
    std::string html = "<div class=\"tiles\">\n" + tile(format_count(last.step), "steps") +
                       tile(format("%.4g", last.loss), "loss of the last step");
    if (const std::string loss = change(run, "loss", Unit::number); !loss.empty())
        html += tile(loss, "evaluation loss");
    if (const std::string share = change(run, "token_accuracy", Unit::percent); !share.empty())
        html += tile(share, "token accuracy");
    const double rate = median_of(steps, &LoggedStep::tokens_per_second),
                 light = median_of(steps, &LoggedStep::speed_of_light);
    if (std::isfinite(rate)) html += tile(axis_text(std::round(rate), Unit::number), "tokens/s, median");
    if (std::isfinite(light)) html += tile(format("%.0f%%", 100 * light), "of the speed of light, median");
    if (std::isfinite(last.peak_memory))
        html += tile(axis_text(last.peak_memory, Unit::bytes),
                     std::isfinite(last.planned_memory)
                         ? "memory taken; planned: " + axis_text(last.planned_memory, Unit::bytes)
                         : "memory taken");
    const auto spikes =
        std::ranges::count_if(steps, [](const LoggedStep& step) { return step.loss_spikes || step.grad_norm_spikes; });
    if (spikes > 0) html += tile(format_count(spikes), "steps with a spike");
    return html + "</div>\n";
}

std::string note(const std::string& text) {
    return text.empty() ? "" : "<p class=\"box note\">" + escape_markup(text) + "</p>\n";
}

std::string legend(const std::vector<std::string>& names) {
    std::string html = "<div class=\"legend\">";
    for (size_t i = 0; i < names.size(); ++i)
        html += format("<span><i class=\"k%d\"></i>", static_cast<int>(i % kColours)) + escape_markup(names[i]) +
                (i < kColours ? "" : " <span class=\"weak\">(dashed)</span>") + "</span>\n";
    return html + "</div>\n";
}

std::string colours() {
    std::string css;
    for (int i = 0; i < kColours; ++i)
        css +=
            format(".line.c%d { stroke: var(--c%d) } circle.c%d { fill: var(--c%d) } .k%d { background: var(--c%d) }\n",
                   i, i, i, i, i, i);
    return css;
}

}  // namespace

std::string report_page(const std::vector<const RunLog*>& runs) {
    std::vector<std::string> names;
    for (const RunLog* run : runs) {
        const std::filesystem::path folder = without_slash(run->folder());
        const bool nameless = folder == "." || folder == "..";
        names.push_back(
            cut(runs.size() > 1 || nameless ? folder.string() : folder.filename().string(), kNameCharacters));
    }
    const std::string title = runs.size() == 1 ? names.front() : counted(std::ssize(runs), "run");
    std::string html =
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
        // A page without an icon of its own is asked for one.
        "<link rel=\"icon\" href=\"data:,\">\n<title>" +
        escape_markup(title) + "</title>\n<style>" + kPageStyle + colours() + "</style></head>\n<body><main>\n<h1>" +
        escape_markup(title) + "</h1>\n";
    if (runs.size() > 1) {
        html += legend(names);
        for (const RunLog* run : runs) html += note(run->skipped());
        return html + "<div class=\"charts\">\n" + charts_of(runs, names) + "</div>\n</main></body></html>\n";
    }
    const RunLog& run = *runs.front();
    const RunOptions options(run.folder());
    const std::string model = options.value("model"), method = options.value("method");
    if (!model.empty())
        html += "<div class=\"weak\">" + escape_markup(cut(concat(model, method.empty() ? "" : ", ", method), 200)) +
                "</div>\n";
    html += tiles_of(run) + note(run.skipped()) + note(options.problem);
    html += "<div class=\"charts\">\n" + charts_of(runs, names) + "</div>\n";
    html += heat_map_of(run) + evaluations_table(run) + commands_of(run, options) + options_table(options);
    return html + "</main></body></html>\n";
}

}  // namespace quaff
