// out/log.jsonl: one JSON object a line, one line for a step and one for an evaluation, flushed as it is written, so
// that the log of a run that was killed ends with its last whole step.
#pragma once

#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace llmc {

class JsonLog {
  public:
    using Keep = std::function<bool(const nlohmann::json& line)>;

    // Starts an empty log, or, when a run goes on, one with the earlier lines that `keep` returns true for.
    explicit JsonLog(const std::string& path, const Keep& keep = nullptr);

    void write(const nlohmann::ordered_json& object);

  private:
    struct Close {
        void operator()(std::FILE* file) const { std::fclose(file); }
    };

    std::string path_;
    std::unique_ptr<std::FILE, Close> file_;
};

// Keeps the lines of a run up to the step it goes on from: what came after is about to happen again. A line without a
// step in numbers is none of a run's and stays.
JsonLog::Keep up_to_step(int64_t step);

}  // namespace llmc
