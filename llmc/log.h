// out/log.jsonl: one JSON object a line, one line for a step and one for an evaluation, flushed as it is written, so
// that the log of a run that was killed ends with its last whole step.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace llmc {

class JsonLog {
  public:
    // Starts an empty log, or, when a run continues after `resumed_step` > 0, keeps the lines up to that step: what
    // came after its checkpoint is about to happen again.
    JsonLog(const std::string& path, int64_t resumed_step);

    void write(const nlohmann::ordered_json& object);

  private:
    struct Close {
        void operator()(std::FILE* file) const { std::fclose(file); }
    };

    std::string path_;
    std::unique_ptr<std::FILE, Close> file_;
};

}  // namespace llmc
