// The folder of a run, --out. One run at a time has it; what an earlier one left there is moved aside.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "llmc/io/file_io.h"
#include "llmc/system/terminal.h"
#include "quaff/run/starting_point.h"

namespace quaff {

class OutFolder {
  public:
    // `path` must outlive it.
    OutFolder(const std::string& path, Terminal& terminal) : path_(path), terminal_(terminal) {}

    // Creates the folder, locks it for as long as this object lives, and removes half-written files. Throws Error if
    // another run has it.
    void claim();

    // Moves aside what an earlier run left, or the steps that a resumed run takes again. Writes config.toml and, for a
    // quantised run that did not begin here, outliers.json. A run that continues in another folder takes its log along.
    // So does its best checkpoint, that of step `best`; 0: there is none. `resumed_from`: a checkpoint after `step`
    // steps, or "".
    void begin(const std::string& config, const StartingPoint& start, const std::string& resumed_from, int64_t step,
               int64_t best);

  private:
    const std::string& path_;
    Terminal& terminal_;
    std::optional<DirectoryLock> lock_;
};

}  // namespace quaff
