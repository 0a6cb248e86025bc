// out/log.jsonl: one JSON object a line, one line for a step and one for an evaluation, handed to the system as it is
// written, so that the log of a run that was killed ends with its last whole step. What a full disk does not take is
// kept and written with a later line: the run goes on, and the log misses nothing once there is room again.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace llmc {

class JsonLog {
  public:
    using Keep = std::function<bool(const nlohmann::json& line)>;

    // Starts an empty log, or, when a run goes on, one with the earlier lines that `keep` returns true for.
    explicit JsonLog(const std::string& path, const Keep& keep = nullptr);
    ~JsonLog();
    JsonLog(const JsonLog&) = delete;
    JsonLog& operator=(const JsonLog&) = delete;

    // Returns "", or in one sentence what kept this line, or an earlier one, from being written.
    std::string write(const nlohmann::ordered_json& object);

  private:
    std::string path_;
    std::string unwritten_;
    int fd_;
};

// Keeps the lines of a run up to the step it goes on from: what came after is about to happen again. A line without a
// step in numbers is none of a run's and stays.
JsonLog::Keep up_to_step(int64_t step);

}  // namespace llmc
