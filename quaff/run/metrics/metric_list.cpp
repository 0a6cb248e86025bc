#include "quaff/run/metrics/metric_list.h"

#include <algorithm>
#include <optional>
#include <string_view>

#include "llmc/core/error.h"

namespace quaff {

using namespace llmc;

namespace {

std::string_view trimmed(std::string_view text) {
    constexpr std::string_view kSpace = " \t";
    const size_t begin = text.find_first_not_of(kSpace);
    return begin == text.npos ? "" : text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

}  // namespace

std::vector<Metric> parse_metrics(const std::string& list) {
    std::vector<Metric> metrics;
    std::string_view rest = list;
    while (true) {
        const size_t comma = rest.find(',');
        const std::string_view name = trimmed(rest.substr(0, comma));
        const std::optional<Metric> metric = value_in(kMetricNames, name);
        if (!metric) {
            std::string names;
            for (const Named<Metric>& known : kMetricNames) names += concat(known.name, ", ");
            throw UsageError(concat("--metrics: '", name, "' is no metric; there are ", names, "or ", kMetricsOfFormat,
                                    " or ", kNoMetrics, " alone"));
        }
        metrics.push_back(*metric);
        if (comma == rest.npos) break;
        rest.remove_prefix(comma + 1);
    }
    std::ranges::sort(metrics);
    metrics.erase(std::unique(metrics.begin(), metrics.end()), metrics.end());
    return metrics;
}

}  // namespace quaff
