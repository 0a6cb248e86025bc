// --track-outliers: whether the outlier channels that were chosen before training are those of the batches that the run
// trains on. A line for each step and joint linear in out/ossh.jsonl (stability_record.h), and at the end their means
// on the terminal and a picture of the hit rates, out/ossh.svg (stability_map.h).
//
// The file is all that a resumed run needs: it drops the lines of later steps and goes on as if it had never stopped.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "llmc/system/terminal.h"
#include "llmc/training/log.h"
#include "quaff/files/model_config.h"
#include "quaff/run/training/stability_map.h"
#include "quaff/run/training/stability_record.h"

namespace quaff {

class StabilityLog {
  public:
    // Begins ossh.jsonl in the folder `out` or, after `step` steps, goes on with the lines up to there. `trackers`: of
    // all joint linears, in the order of the blocks. What it is given by reference, and they, must outlive it.
    StabilityLog(const std::string& out, const std::string& model, const ModelConfig& config,
                 std::span<const OutlierTracker> trackers, Terminal& terminal, int64_t step);

    // Adds the lines of `step`: what the trackers have seen in it.
    void end_step(int64_t step);
    // Prints the means by kind of linear, and writes ossh.svg.
    void finish();

  private:
    struct Mean {
        double sum = 0;
        int64_t count = 0;
        void add(double value);  // unless it is no number
        double value() const;    // not a number: there is none
    };
    struct Layer {
        std::string module;
        FoundBefore before;
        std::vector<HitRate> hits;
        int64_t last_step = 0;
    };
    // The linears of one name: "qkv_proj".
    struct Kind {
        std::string name;
        std::vector<size_t> layers;   // positions in layers_
        std::vector<Mean> means;      // as kStabilityFigures
        std::vector<Mean> hit_rates;  // as layers
    };

    void open(int64_t step);
    void add(size_t layer, const StabilityRecord& record);
    void tell(const std::string& problem);
    std::string row_of(const Kind& kind) const;

    const std::string &out_, &model_;
    std::span<const OutlierTracker> trackers_;
    Terminal& terminal_;
    std::vector<Layer> layers_;  // as trackers_
    std::vector<Kind> kinds_;    // in the order of a block
    std::optional<JsonLog> log_;
    bool log_waits_ = false;  // the last line could not be written; the user has been warned
};

}  // namespace quaff
