#include "quaff/run/training/stability_record.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>

#include "llmc/system/terminal.h"

namespace quaff {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

// What is in the file and what is in memory must be the same: a resumed run has its figures from the file.
double six_digits(double value) {
    return std::isfinite(value) ? std::strtod(format("%.6g", value).c_str(), nullptr) : kNone;
}

std::vector<int32_t> difference(const std::vector<int32_t>& a, const std::vector<int32_t>& b) {
    std::vector<int32_t> only_in_a;
    std::ranges::set_difference(a, b, std::back_inserter(only_in_a));
    return only_in_a;
}

}  // namespace

StabilityRecord record_of(int64_t step, const std::string& module, const OutlierTracker& tracker,
                          const FoundBefore& before) {
    const OutlierFigures& seen = tracker.figures();
    const bool has_scales = seen.scale_max > 0;
    StabilityRecord record{.step = step,
                           .module = module,
                           .tokens = seen.tokens,
                           .channels = std::ssize(tracker.channels()),
                           .found = std::ssize(seen.found),
                           .hit_rate = share_in(seen.found, tracker.channels()),
                           .overlap_previous = before.steps > 0 ? overlap(seen.found, before.previous) : kNone,
                           .overlap_first = before.steps > 0 ? overlap(seen.found, before.first) : kNone,
                           .energy_outside = seen.energy_outside,
                           .row_maxima_outside = seen.row_maxima_outside,
                           .snr_x_db = seen.snr_x_db,
                           .scale_mean = has_scales ? seen.scale_mean : kNone,
                           .scale_min = has_scales ? seen.scale_min : kNone,
                           .scale_max = has_scales ? seen.scale_max : kNone,
                           .entered = difference(seen.found, before.previous),
                           .left = difference(before.previous, seen.found)};
    for (const NamedFigure& figure : kStabilityFigures) record.*figure.value = six_digits(record.*figure.value);
    return record;
}

void advance(FoundBefore& before, const StabilityRecord& record) {
    std::vector<int32_t> found = difference(before.previous, record.left);
    found.insert(found.end(), record.entered.begin(), record.entered.end());
    std::ranges::sort(found);
    if (before.steps++ == 0) before.first = found;
    before.previous = std::move(found);
}

nlohmann::ordered_json to_json(const StabilityRecord& record) {
    nlohmann::ordered_json line = {{"step", record.step},
                                   {"module", record.module},
                                   {"tokens", record.tokens},
                                   {"channels", record.channels},
                                   {"found", record.found}};
    for (const NamedFigure& figure : kStabilityFigures) {
        const double value = record.*figure.value;
        if (std::isfinite(value))
            line[figure.name] = value;
        else
            line[figure.name] = nullptr;
    }
    line["entered"] = record.entered;
    line["left"] = record.left;
    return line;
}

std::optional<StabilityRecord> stability_record(const nlohmann::json& line) {
    try {
        StabilityRecord record;
        for (const auto& [name, value] : {std::pair("step", &record.step), std::pair("tokens", &record.tokens),
                                          std::pair("channels", &record.channels), std::pair("found", &record.found)}) {
            if (!line.at(name).is_number_integer()) return std::nullopt;
            line.at(name).get_to(*value);
        }
        line.at("module").get_to(record.module);
        for (const NamedFigure& figure : kStabilityFigures) {
            const nlohmann::json& value = line.at(figure.name);
            record.*figure.value = value.is_null() ? kNone : value.get<double>();
        }
        if (record.hit_rate < 0 || record.hit_rate > 1) return std::nullopt;
        line.at("entered").get_to(record.entered);
        line.at("left").get_to(record.left);
        for (std::vector<int32_t>* channels : {&record.entered, &record.left}) std::ranges::sort(*channels);
        return record;
    } catch (const nlohmann::json::exception&) {
        return std::nullopt;
    }
}

}  // namespace quaff
