#include "quaff/run/method_settings.h"

#include <cstdlib>

#include "llmc/core/error.h"

namespace quaff {

Options with_paper_settings(const Options& options) {
    Options paper = options;
    paper.outliers = outlier_options(options, Method::quaff_paper);
    paper.compute.scale_momentum = 0.1;
    paper.compute.scale_strength = 0.5;
    paper.compute.rotation = false;
    paper.compute.outlier_term = OutlierTerm::scaled;
    return paper;
}

OutlierOptions outlier_options(const Options& options, Method method) {
    OutlierOptions how = options.outliers;
    if (has_own_channels(method)) how.budget.clear();
    if (method == Method::quaff_paper) {
        how.strategy = OutlierStrategy::mean_times;
        how.threshold = 100;
        how.max_ratio = "0.01";
    } else if (method == Method::smooth_static) {
        how.strategy = OutlierStrategy::top_abs;
        how.max_ratio = "1";
    }
    return how;
}

// A file says 0.01 or 1.0, or nothing.
static bool same_ratio(const std::string& of_file, const std::string& own) {
    return of_file.empty() || std::strtod(of_file.c_str(), nullptr) == std::strtod(own.c_str(), nullptr);
}

bool has_own_channels(Method method) {
    return method == Method::quaff_paper || method == Method::smooth_static;
}

void require_channels_of(Method method, const OutlierChannels& outliers, const std::string& origin) {
    if (method == Method::smooth_static && outliers.max_abs.empty())
        throw UsageError(concat(origin, " has no max_abs, the largest |X| of each channel, which --method ",
                                name_of(method), " scales by; leave the file out, so that they are found"));
    if (!has_own_channels(method) || outliers.strategy.empty()) return;
    const OutlierOptions own = outlier_options({}, method);
    const bool counts = own.strategy == OutlierStrategy::mean_times;  // the threshold
    if (outliers.strategy != name_of(own.strategy) || (counts && outliers.threshold != own.threshold) ||
        !same_ratio(outliers.max_ratio, own.max_ratio))
        throw UsageError(concat(origin, ": these channels were found by ", outliers.strategy, " ", outliers.threshold,
                                " with a ratio of ", outliers.max_ratio, ", and --method ", name_of(method),
                                " takes those of ", name_of(own.strategy), counts ? concat(" ", own.threshold) : "",
                                " with ", own.max_ratio, "; leave the file out, or choose --method quaff"));
}

}  // namespace quaff
