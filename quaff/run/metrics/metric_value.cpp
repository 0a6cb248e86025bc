#include "quaff/run/metrics/metric_value.h"

#include <algorithm>
#include <cmath>

#include "llmc/system/terminal.h"

namespace quaff {

using namespace llmc;

double MetricValue::value() const {
    if (count == 0) return 0;
    const double mean = sum / static_cast<double>(count);
    return metric == Metric::word_perplexity ? std::exp(mean) : mean;
}

std::string MetricValue::in_words() const {
    return title_of(metric) + (is_share() ? format(" %.1f%%", 100 * value()) : format(" %.4g", value()));
}

std::string title_of(Metric metric) {
    std::string title = name_in(kMetricNames, metric);
    std::ranges::replace(title, '_', ' ');
    return title;
}

}  // namespace quaff
