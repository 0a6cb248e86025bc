#include "quaff/run/training/stability_log.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "llmc/core/error.h"
#include "llmc/io/file_io.h"

namespace quaff {
namespace {

namespace fs = std::filesystem;

std::string kind_of(const std::string& module) {
    return module.substr(module.rfind('.') + 1);
}

std::string percent(double share) {
    return std::isnan(share) ? "-" : format("%.1f%%", 100 * share);
}

const std::vector<std::string> kTitles = {"hit rate",   "lowest",     "overlap", "with step 1",
                                          "energy out", "maxima out", "SNR of X"};

// A name, and a cell below each title.
std::string table_row(const std::string& name, const std::vector<std::string>& cells) {
    std::string row = format(" %-12s", name.c_str());
    for (size_t i = 0; i < cells.size(); ++i)
        row += format("  %*s", static_cast<int>(kTitles[i].size()), cells[i].c_str());
    return row;
}

}  // namespace

void StabilityLog::Mean::add(double value) {
    if (std::isnan(value)) return;
    sum += value;
    count++;
}

double StabilityLog::Mean::value() const {
    return sum / static_cast<double>(count);
}

StabilityLog::StabilityLog(const std::string& out, const std::string& model, const ModelConfig& config,
                           std::span<const OutlierTracker> trackers, Terminal& terminal, int64_t step)
    : out_(out), model_(model), trackers_(trackers), terminal_(terminal) {
    for (const JointLinear& joint : all_joint_linears(config)) {
        const std::string name = kind_of(joint.name);
        auto kind = std::ranges::find(kinds_, name, &Kind::name);
        if (kind == kinds_.end()) {
            kind = kinds_.emplace(kind);
            kind->name = name;
            kind->means.resize(std::size(kStabilityFigures));
        }
        kind->layers.push_back(layers_.size());
        kind->hit_rates.emplace_back();
        layers_.emplace_back().module = joint.name;
    }
    open(step);
}

void StabilityLog::open(int64_t step) {
    const std::string path = (fs::path(out_) / "ossh.jsonl").string();
    if (step == 0) {
        log_.emplace(path);
        return;
    }
    std::map<std::string, size_t> positions;
    for (size_t i = 0; i < layers_.size(); ++i) positions[layers_[i].module] = i;
    log_.emplace(path, [&](const nlohmann::json& line) {
        const std::optional<StabilityRecord> record = stability_record(line);
        if (!record || record->step > step || !positions.contains(record->module)) return false;
        const size_t layer = positions[record->module];
        if (record->step <= layers_[layer].last_step) return false;
        add(layer, *record);
        return true;
    });
    const bool whole = std::ranges::all_of(
        layers_, [&](const Layer& layer) { return layer.last_step == step && layer.before.steps == step; });
    if (!whole)
        terminal_.warn(
            concat(path, " does not hold all of the ", counted(step, "step"),
                   " before this one: the first of its steps stands for step 1, and means are of its steps"));
}

void StabilityLog::end_step(int64_t step) {
    for (size_t i = 0; i < layers_.size(); ++i) {
        const StabilityRecord record = record_of(step, layers_[i].module, trackers_[i], layers_[i].before);
        tell(log_->write(to_json(record)));
        add(i, record);
    }
}

void StabilityLog::add(size_t i, const StabilityRecord& record) {
    Layer& layer = layers_[i];
    advance(layer.before, record);
    layer.last_step = record.step;
    if (!std::isnan(record.hit_rate)) layer.hits.push_back({record.step, record.hit_rate});
    const auto kind = std::ranges::find(kinds_, kind_of(layer.module), &Kind::name);
    for (size_t f = 0; f < kind->means.size(); ++f) kind->means[f].add(record.*kStabilityFigures[f].value);
    kind->hit_rates[static_cast<size_t>(std::ranges::lower_bound(kind->layers, i) - kind->layers.begin())].add(
        record.hit_rate);
}

// A run does not fail for this file: lines that cannot be written wait.
void StabilityLog::tell(const std::string& problem) {
    if (!problem.empty() && !log_waits_)
        terminal_.warn(problem + ". Training continues; the missing lines follow as soon as they can be written");
    log_waits_ = !problem.empty();
}

std::string StabilityLog::row_of(const Kind& kind) const {
    const auto mean = [&](double StabilityRecord::*figure) {
        const auto at = std::ranges::find(kStabilityFigures, figure, &NamedFigure::value);
        return kind.means[static_cast<size_t>(at - std::begin(kStabilityFigures))].value();
    };
    double lowest = NAN;
    for (const Mean& of_layer : kind.hit_rates) lowest = std::fmin(lowest, of_layer.value());
    const double snr = mean(&StabilityRecord::snr_x_db);
    return table_row(
        kind.name,
        {percent(mean(&StabilityRecord::hit_rate)), percent(lowest), percent(mean(&StabilityRecord::overlap_previous)),
         percent(mean(&StabilityRecord::overlap_first)), percent(mean(&StabilityRecord::energy_outside)),
         percent(mean(&StabilityRecord::row_maxima_outside)), std::isnan(snr) ? "-" : format("%.1f dB", snr)});
}

void StabilityLog::finish() {
    int64_t steps = 0;
    for (const Layer& layer : layers_) steps = std::max(steps, layer.before.steps);
    if (steps == 0) return;
    terminal_.line("");
    terminal_.line(
        concat("outlier channels over ", counted(steps, "step"), ", those of each batch beside the chosen ones:"));
    terminal_.line(table_row("", kTitles));
    for (const Kind& kind : kinds_) terminal_.line(row_of(kind));

    std::vector<StabilityPanel> panels;
    for (const Kind& kind : kinds_) {
        StabilityPanel& panel = panels.emplace_back();
        panel.title = kind.name;
        for (const size_t layer : kind.layers) panel.layers.push_back(layers_[layer].hits);
    }
    const fs::path picture = fs::path(out_) / "ossh.svg";
    try {
        write_file_atomically(picture, stability_map(concat("Outlier channels of the batches of ", model_), panels));
        terminal_.line(concat(" each layer and step: ", picture.string(), " and ossh.jsonl beside it"));
    } catch (const Error& error) {
        terminal_.warn(concat(error.what(), "; ossh.jsonl has what it would show"));
    }
}

}  // namespace quaff
