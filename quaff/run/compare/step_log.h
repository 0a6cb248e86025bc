// The times of a run's steps, from its log.jsonl.
#pragma once

#include <filesystem>
#include <vector>

namespace quaff {

// Seconds of each step but the first two, or the first third of a short run: those also warm up caches and libraries,
// and on a GPU choose algorithms. Throws Error if the log has no step.
std::vector<double> steady_step_seconds(const std::filesystem::path& log);

}  // namespace quaff
