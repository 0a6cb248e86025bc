// out/log.jsonl: one JSON object per line, for a step or an evaluation. Lines go to the system at once, so the log of a
// killed run ends with its last complete step. If the disk is full, lines are kept and written later: the run
// continues, and the log is complete once there is room again.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace llmc {

class JsonLog {
  public:
    using Keep = std::function<bool(const nlohmann::json& line)>;

    // Starts an empty log or, for a resumed run, one with the earlier lines that `keep` returns true for.
    explicit JsonLog(const std::string& path, const Keep& keep = nullptr);
    ~JsonLog();
    JsonLog(const JsonLog&) = delete;
    JsonLog& operator=(const JsonLog&) = delete;

    // Returns "", or a sentence that says why this line, or an earlier one, is not written yet.
    std::string write(const nlohmann::ordered_json& object);

  private:
    std::string path_;
    std::string unwritten_;
    int fd_;
};

// Keeps the lines up to the step that a run resumes from: later steps are taken again. A line without a numeric step is
// not the run's own and stays.
JsonLog::Keep up_to_step(int64_t step);

}  // namespace llmc
