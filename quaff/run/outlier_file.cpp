#include "quaff/run/outlier_file.h"

#include "llmc/core/error.h"
#include "quaff/files/info.h"

namespace quaff {

namespace fs = std::filesystem;
using namespace llmc;

fs::path default_outlier_path(const OutlierChannels& outliers) {
    return fs::path("outlier") /
           concat(outliers.strategy, outliers.threshold, "_", outliers.dataset, "_", outliers.model, ".json");
}

void require_replaceable(const fs::path& path) {
    if (!fs::exists(path)) return;
    bool replaceable = false;
    try {
        replaceable = kind_of(path) == Kind::outliers;
    } catch (const Error&) {  // of no kind
    }
    if (!replaceable)
        throw UsageError(concat("--outliers ", path.string(),
                                ": is not an outlier file, and calibrate would overwrite it; name another file"));
}

}  // namespace quaff
