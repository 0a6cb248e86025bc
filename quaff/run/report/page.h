// report.html: the curves of one run, or of several over each other, as a page that needs nothing but itself.
//
// All of it comes from the runs' log.jsonl and config.toml, and for one run from its ossh.svg; so the page that a run
// writes while it goes on, and the one that is made of its folder later, are the same.
#pragma once

#include <string>
#include <vector>

#include "quaff/run/report/run_log.h"

namespace quaff {

inline constexpr const char* kPageName = "report.html";
// More curves in one chart could not be told apart.
inline constexpr size_t kMostRuns = 32;

// The whole page, well below 1 MB.
std::string report_page(const std::vector<const RunLog*>& runs);

}  // namespace quaff
