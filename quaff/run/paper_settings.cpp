#include "quaff/run/paper_settings.h"

#include "llmc/core/error.h"

namespace quaff {

Options with_paper_settings(const Options& options) {
    Options paper = options;
    paper.outliers.strategy = OutlierStrategy::mean_times;
    paper.outliers.threshold = 100;
    paper.outliers.max_ratio = "0.01";
    paper.compute.scale_momentum = 0.1;
    paper.compute.rotation = false;
    paper.compute.outlier_term = OutlierTerm::scaled;
    return paper;
}

void require_paper_channels(const OutlierChannels& outliers, const std::string& origin) {
    const bool is_of_paper = outliers.strategy == name_of(OutlierStrategy::mean_times) && outliers.threshold == 100 &&
                             (outliers.max_ratio.empty() || outliers.max_ratio == "0.01");
    if (!outliers.strategy.empty() && !is_of_paper)
        throw UsageError(concat(origin, ": these channels were found by ", outliers.strategy, " ", outliers.threshold,
                                " with a ratio of ", outliers.max_ratio,
                                ", and --method quaff-paper takes those of mean_times 100 with 0.01; leave the file ",
                                "out, or choose --method quaff"));
}

}  // namespace quaff
