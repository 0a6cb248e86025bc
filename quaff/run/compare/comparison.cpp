#include "quaff/run/compare/comparison.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "llmc/core/error.h"
#include "llmc/core/median.h"

namespace quaff {

using namespace llmc;
using nlohmann::ordered_json;

namespace {

// A whole number that every integer near it is told apart from, and that an int64_t holds.
bool is_whole(double value) {
    return value == std::trunc(value) && std::abs(value) < 0x1p53;
}

ordered_json object_of(const Figures& figures) {
    ordered_json object = ordered_json::object();
    for (const auto& [name, value] : figures)
        object[name] = is_whole(value) ? ordered_json(std::llround(value)) : ordered_json(value);
    return object;
}

ordered_json to_json(const TrainedRun& run) {
    ordered_json object = {{"seed", run.seed},
                           {"step_seconds", run.step_seconds},
                           {"planned_memory_bytes", run.planned_memory},
                           {"peak_memory_bytes", run.peak_memory}};
    if (!run.after.empty()) object["after"] = object_of(run.after);
    return object;
}

ordered_json to_json(const MethodResult& result) {
    ordered_json object = {{"method", result.method}};
    if (!result.before.empty()) object["before"] = object_of(result.before);
    if (const Figures mean = result.mean_after(); !mean.empty()) object["after"] = object_of(mean);
    if (const std::optional<double> seconds = result.median_seconds()) {
        object["seconds_per_step"] = *seconds;
        object["planned_memory_bytes"] = result.planned_memory();
        object["peak_memory_bytes"] = result.peak_memory();
    }
    object["runs"] = ordered_json::array();
    for (const TrainedRun& run : result.runs) object["runs"].push_back(to_json(run));
    return object;
}

TrainedRun run_of(const ordered_json& object) {
    TrainedRun run;
    object.at("seed").get_to(run.seed);
    object.at("step_seconds").get_to(run.step_seconds);
    object.at("planned_memory_bytes").get_to(run.planned_memory);
    object.at("peak_memory_bytes").get_to(run.peak_memory);
    if (object.contains("after")) run.after = figures_of(object["after"]);
    return run;
}

MethodResult result_of(const ordered_json& object) {
    MethodResult result;
    object.at("method").get_to(result.method);
    if (object.contains("before")) result.before = figures_of(object["before"]);
    for (const ordered_json& run : object.at("runs")) result.runs.push_back(run_of(run));
    return result;
}

int64_t most_of(const std::vector<TrainedRun>& runs, int64_t TrainedRun::*memory) {
    int64_t most = 0;
    for (const TrainedRun& run : runs) most = std::max(most, run.*memory);
    return most;
}

}  // namespace

std::optional<double> figure(const Figures& figures, const std::string& name) {
    const auto found = std::ranges::find(figures, name, &Figures::value_type::first);
    if (found == figures.end()) return std::nullopt;
    return found->second;
}

Figures figures_of(const ordered_json& evaluation) {
    Figures figures;
    for (const auto& [name, value] : evaluation.items())
        if (value.is_number()) figures.emplace_back(name, value.get<double>());
    return figures;
}

std::optional<double> MethodResult::median_seconds() const {
    std::vector<double> all;
    for (const TrainedRun& run : runs) all.insert(all.end(), run.step_seconds.begin(), run.step_seconds.end());
    if (all.empty()) return std::nullopt;
    return median(std::move(all));
}

int64_t MethodResult::planned_memory() const {
    return most_of(runs, &TrainedRun::planned_memory);
}
int64_t MethodResult::peak_memory() const {
    return most_of(runs, &TrainedRun::peak_memory);
}

std::vector<double> MethodResult::after(const std::string& name) const {
    std::vector<double> values;
    for (const TrainedRun& run : runs)
        if (const std::optional<double> value = figure(run.after, name)) values.push_back(*value);
    return values;
}

Figures MethodResult::mean_after() const {
    if (runs.empty() || std::ranges::any_of(runs, [](const TrainedRun& run) { return run.after.empty(); })) return {};
    Figures means = runs.front().after;
    for (auto& [name, mean] : means) {
        const std::vector<double> values = after(name);
        mean = std::reduce(values.begin(), values.end()) / static_cast<double>(values.size());
    }
    return means;
}

ordered_json to_json(const Comparison& comparison) {
    ordered_json options = ordered_json::object();
    for (const auto& [name, value] : comparison.options) options[name] = value;
    ordered_json inputs = ordered_json::object();
    for (const auto& [name, fingerprint] : comparison.inputs) inputs[name] = fingerprint;
    ordered_json methods = ordered_json::array();
    for (const MethodResult& result : comparison.methods) methods.push_back(to_json(result));
    return {{"model", comparison.model}, {"steps", comparison.steps},
            {"seeds", comparison.seeds}, {"first_seed", comparison.first_seed},
            {"options", options},        {"inputs", inputs},
            {"methods", methods},        {"commands", comparison.commands}};
}

Comparison comparison_of(const ordered_json& object, const std::string& file) {
    try {
        Comparison comparison;
        object.at("model").get_to(comparison.model);
        object.at("steps").get_to(comparison.steps);
        object.at("seeds").get_to(comparison.seeds);
        object.at("first_seed").get_to(comparison.first_seed);
        for (const auto& [name, value] : object.at("options").items())
            comparison.options.emplace_back(name, value.get<std::string>());
        for (const auto& [name, fingerprint] : object.at("inputs").items())
            comparison.inputs.emplace_back(name, fingerprint.get<std::string>());
        for (const ordered_json& method : object.at("methods")) comparison.methods.push_back(result_of(method));
        object.at("commands").get_to(comparison.commands);
        return comparison;
    } catch (const ordered_json::exception&) {
        fail(file, ": this is no comparison that could be continued; name another --out");
    }
}

}  // namespace quaff
