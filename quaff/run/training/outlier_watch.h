// What a run does with the outlier channels of the batches that it trains on (quaff/model/outlier_tracker.h):
//
//   --track-outliers       compares them with the chosen ones, on the first rank (stability_log.h)
//   --refresh-outliers N   after every N-th step chooses them anew: those that rank first in all micro-batches of the
//                          step, of all ranks. A layer keeps the number of its channels; where fewer have a rank, it
//                          keeps some of the old ones, too.
//
// They are ranked by the criterion that the channels were chosen by. Only what the step saw decides, so a run that is
// resumed from a checkpoint, which has the channels of its step, refreshes them as if it had never stopped.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "llmc/system/terminal.h"
#include "quaff/model/model.h"
#include "quaff/run/options.h"
#include "quaff/run/starting_point.h"
#include "quaff/run/training/stability_log.h"

namespace quaff {

template <class Device>
class OutlierWatch {
  public:
    // After `step` steps. Does nothing unless the options ask for it. A refresh changes start.outliers and the model.
    // What it is given must outlive it, and it the model's last step. Throws Error if the method has no outlier
    // channels.
    OutlierWatch(const Options& options, StartingPoint& start, const ModelFiles& files, Model<Device>& model,
                 Terminal& terminal, int64_t step);

    void begin_step(int64_t step);
    // Returns how many channels are others than before.
    int64_t end_step(int64_t step);
    // After the last step.
    void finish();

  private:
    bool refreshes(int64_t step) const;
    int64_t refresh();

    const TrainingOptions& options_;
    OutlierChannels& outliers_;
    const ModelFiles& files_;
    Model<Device>& model_;
    Terminal& terminal_;
    std::vector<OutlierTracker> trackers_;  // of all joint linears
    std::optional<StabilityLog> stability_;
};

}  // namespace quaff
