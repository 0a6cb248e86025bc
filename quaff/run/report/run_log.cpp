#include "quaff/run/report/run_log.h"

#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "llmc/core/error.h"
#include "llmc/io/json.h"
#include "llmc/io/path.h"
#include "llmc/system/terminal.h"

namespace quaff {

using namespace llmc;

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

constexpr int64_t kMostBytes = int64_t{1} << 30;  // some three million steps
constexpr int64_t kMostSteps = 1'000'000'000;
constexpr const char* kEvaluation = "eval_";

double number(const json& line, const char* key) {
    const auto found = line.find(key);
    return found != line.end() && found->is_number() ? found->get<double>() : std::numeric_limits<double>::quiet_NaN();
}

// The line's step, or -1.
int64_t step_of(const json& line) {
    const auto found = line.is_object() ? line.find("step") : line.end();
    if (found == line.end() || !found->is_number_integer()) return -1;
    const double step = found->get<double>();
    return step >= 0 && step <= static_cast<double>(kMostSteps) ? found->get<int64_t>() : -1;
}

}  // namespace

RunLog::RunLog(const fs::path& folder) : folder_(folder), path_(folder / "log.jsonl") {
    require(path_is_directory(folder), folder.string(), " is not the folder of a run: ",
            path_exists(folder) ? "it is a file; name the folder that holds log.jsonl" : "it does not exist");
    require(path_exists(path_) && fs::is_regular_file(path_), folder.string(),
            " has no log.jsonl: name the folder of a training run, its --out");
    read_on();
}

void RunLog::read_on() {
    std::ifstream file(path_, std::ios::binary);
    require(file.is_open(), path_.string(), " cannot be read");
    const auto size = static_cast<int64_t>(fs::file_size(path_));
    require(size <= kMostBytes, path_.string(), " has ", size, " bytes, more than any run writes");
    if (size < read_) {  // begun anew
        const fs::path folder = folder_;
        *this = RunLog(folder);
        return;
    }
    file.seekg(read_);
    std::string text;
    is_torn_ = false;
    while (std::getline(file, text)) {
        if (file.eof()) {
            is_torn_ = true;
            return;
        }
        read_ += static_cast<int64_t>(text.size()) + 1;
        take(text);
    }
}

void RunLog::take(const std::string& text) {
    n_lines_++;
    const auto foreign = [this] {
        if (n_foreign_++ == 0) first_foreign_ = n_lines_;
    };
    json line;
    try {
        line = parse_json(text, "");
    } catch (const std::exception&) {
        return foreign();
    }
    const int64_t step = step_of(line);
    if (step < 0) return foreign();
    if (line.contains("replaced_outlier_channels")) return;
    if (line.contains("loss") && line.contains("learning_rate")) {
        // A step that is taken again replaces those that followed it.
        while (!steps_.empty() && steps_.back().step >= step) steps_.pop_back();
        steps_.push_back({.step = step,
                          .loss = number(line, "loss"),
                          .grad_norm = number(line, "grad_norm"),
                          .learning_rate = number(line, "learning_rate"),
                          .tokens_per_second = number(line, "tokens_per_second"),
                          .speed_of_light = number(line, "sol"),
                          .peak_memory = number(line, "peak_memory_bytes"),
                          .planned_memory = number(line, "planned_memory_bytes"),
                          .loss_spikes = line.contains("loss_zscore"),
                          .grad_norm_spikes = line.contains("grad_norm_zscore")});
        return;
    }
    // The evaluation after training may be that of an earlier step's checkpoint, which has its own line.
    if (const double best = number(line, "best_step"); std::isfinite(best) && best != static_cast<double>(step)) return;
    LoggedEvaluation evaluation{step, {}};
    for (const auto& [name, value] : line.items())
        if (name.starts_with(kEvaluation) && value.is_number())
            evaluation.figures[name.substr(std::string(kEvaluation).size())] = value.get<double>();
    if (evaluation.figures.empty()) {
        if (!line.contains("warning")) foreign();  // a trouble's line has nothing to draw
        return;
    }
    while (!evaluations_.empty() && evaluations_.back().step >= step) evaluations_.pop_back();
    evaluations_.push_back(std::move(evaluation));
}

std::string RunLog::skipped() const {
    std::string said;
    if (n_foreign_ > 0)
        said = concat(counted(n_foreign_, "line"), " of ", path_.string(),
                      n_foreign_ == 1 ? " is neither a step nor an evaluation" : " are neither steps nor evaluations",
                      n_foreign_ == 1 ? " (line " : " (the first is line ", first_foreign_, ")");
    if (is_torn_) said += concat(said.empty() ? path_.string() : "; it", " ends in the middle of a line");
    return said.empty() ? said : said + ", skipped";
}

}  // namespace quaff
