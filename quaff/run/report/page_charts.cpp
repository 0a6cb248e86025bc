#include <algorithm>
#include <functional>
#include <set>

#include "llmc/core/error.h"
#include "llmc/system/terminal.h"
#include "quaff/run/report/curve.h"
#include "quaff/run/report/page_parts.h"

namespace quaff {

using namespace llmc;

namespace {

constexpr size_t kMostMetrics = 16;  // charts of them
constexpr size_t kFewSteps = 40;     // each is a dot
constexpr size_t kColumns = 400;     // of decimation, in a chart of one to three runs

using Of = std::function<double(const LoggedStep&)>;
using Spikes = std::function<bool(const LoggedStep&)>;

std::vector<Point> points_of(const RunLog& run, const Of& of) {
    std::vector<Point> points;
    for (const LoggedStep& step : run.steps()) points.push_back({static_cast<double>(step.step), of(step)});
    return points;
}

std::vector<Point> points_of(const RunLog& run, const std::string& metric) {
    std::vector<Point> points;
    for (const LoggedEvaluation& evaluation : run.evaluations())
        if (const auto found = evaluation.figures.find(metric); found != evaluation.figures.end())
            points.push_back({static_cast<double>(evaluation.step), found->second});
    return points;
}

struct Charts {
    const std::vector<const RunLog*>& runs;
    const std::vector<std::string>& names;
    size_t columns;

    bool single() const { return runs.size() == 1; }
    Curve curve(size_t i, const char* what, std::vector<Point> points) const {
        return {.name = single() ? what : concat(names[i], ": ", what),
                .colour = static_cast<int>(i % kColours),
                .style = i < kColours ? "" : "dashed",
                .points = std::move(points)};
    }

    // A value of each step. Where there are many, its smoothed course is drawn over it.
    std::string of_steps(const std::string& title, const char* what, Unit unit, const Of& of, bool smoothed,
                         const Spikes& spikes = nullptr) const {
        std::vector<Curve> curves;
        for (size_t i = 0; i < runs.size(); ++i) {
            const size_t n = runs[i]->steps().size();
            Curve raw = curve(i, what, points_of(*runs[i], of));
            raw.with_dots = single() && n <= kFewSteps;
            if (smoothed && n > kFewSteps) {
                const double window = std::clamp(static_cast<double>(n) / 30, 2.0, 1000.0);
                curves.push_back(
                    curve(i, single() ? "smoothed" : concat(what, ", smoothed").c_str(), smooth(raw.points, window)));
                raw.style += " faint";
                curves.insert(curves.end() - 1, raw);
            } else {
                curves.push_back(raw);
            }
            if (!spikes) continue;
            Curve marks = curve(i, "spike", {});
            for (const LoggedStep& step : runs[i]->steps())
                if (spikes(step)) marks.points.push_back({static_cast<double>(step.step), of(step)});
            marks.style = "alarm", marks.without_line = true;
            curves.push_back(marks);
        }
        return chart(title, unit, curves, columns);
    }

    std::string memory() const {
        std::vector<Curve> curves;
        for (size_t i = 0; i < runs.size(); ++i) {
            curves.push_back(curve(i, "taken", points_of(*runs[i], [](auto& step) { return step.peak_memory; })));
            curves.push_back(curve(i, "planned", points_of(*runs[i], [](auto& step) { return step.planned_memory; })));
            curves.back().style = "dashed";
        }
        return chart("Memory taken; dashed: planned", Unit::bytes, curves, columns);
    }

    std::string of_metric(const std::string& metric) const {
        const std::string shown = cut(metric, 60);
        std::vector<Curve> curves;
        bool is_share = metric.ends_with("accuracy") || metric.ends_with("match");
        for (size_t i = 0; i < runs.size(); ++i) {
            curves.push_back(curve(i, shown.c_str(), points_of(*runs[i], metric)));
            curves.back().with_dots = true;
            for (const Point& point : curves.back().points) is_share = is_share && point.y >= 0 && point.y <= 1;
        }
        std::string title = "Evaluation: " + shown;
        std::ranges::replace(title, '_', ' ');
        return chart(title, is_share ? Unit::percent : Unit::number, curves, columns);
    }
};

}  // namespace

std::string charts_of(const std::vector<const RunLog*>& runs, const std::vector<std::string>& names) {
    const Charts charts{runs, names, kColumns / std::max<size_t>(1, runs.size() / 3)};
    std::string html;
    html += charts.of_steps(
        "Loss", "loss", Unit::number, [](auto& step) { return step.loss; }, true,
        [](auto& step) { return step.loss_spikes; });
    html += charts.of_steps(
        "Gradient norm", "gradient norm", Unit::number, [](auto& step) { return step.grad_norm; }, true,
        [](auto& step) { return step.grad_norm_spikes; });
    std::set<std::string> metrics;
    for (const RunLog* run : runs)
        for (const LoggedEvaluation& evaluation : run->evaluations())
            for (const auto& [name, value] : evaluation.figures) metrics.insert(name);
    metrics.erase("labelled_tokens");  // the same each time
    for (size_t left = kMostMetrics; const std::string& metric : metrics)
        if (left > 0) html += charts.of_metric(metric), left--;
    html += charts.of_steps(
        "Learning rate", "learning rate", Unit::number, [](auto& step) { return step.learning_rate; }, false);
    html += charts.of_steps(
        "Tokens a second", "tokens/s", Unit::number, [](auto& step) { return step.tokens_per_second; }, true);
    html += charts.of_steps(
        "Share of the speed of light", "of the speed of light", Unit::percent,
        [](auto& step) { return step.speed_of_light; }, true);
    return html + charts.memory();
}

}  // namespace quaff
