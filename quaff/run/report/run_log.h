// A run's log.jsonl as its page needs it: steps and evaluations.
//
// The log may be growing, and may have come from somewhere else: a last line without its end is left for later, and a
// line that is neither a step nor an evaluation is counted and passed over.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace quaff {

// NaN: the line does not say.
struct LoggedStep {
    int64_t step;
    double loss, grad_norm, learning_rate;
    double tokens_per_second, speed_of_light;  // share of it
    double peak_memory, planned_memory;        // bytes
    bool loss_spikes, grad_norm_spikes;
};

struct LoggedEvaluation {
    int64_t step;
    std::map<std::string, double> figures;  // by name, without eval_: loss, perplexity, token_accuracy, ..
};

class RunLog {
  public:
    // `folder`: of a run. Throws Error if it has no log.jsonl.
    explicit RunLog(const std::filesystem::path& folder);

    // Reads the lines that came since.
    void read_on();

    const std::filesystem::path& folder() const { return folder_; }
    const std::vector<LoggedStep>& steps() const { return steps_; }  // ascending
    const std::vector<LoggedEvaluation>& evaluations() const { return evaluations_; }
    // A sentence on what was passed over, or "".
    std::string skipped() const;

  private:
    void take(const std::string& text);

    std::filesystem::path folder_, path_;
    int64_t read_ = 0;  // bytes: complete lines
    int64_t n_lines_ = 0, n_foreign_ = 0, first_foreign_ = 0;
    bool is_torn_ = false;
    std::vector<LoggedStep> steps_;
    std::vector<LoggedEvaluation> evaluations_;
};

}  // namespace quaff
