// Writes what a run leaves behind, and knows the checkpoints that it can be continued from.
//
//   save()           a checkpoint on the way; if it cannot be written, the run continues with a warning
//   load()           goes back to one of them
//   save_last()      the checkpoint of a run that was stopped     } if --out cannot take them, they are saved in the
//   save_adapter()   the adapter of a run that is done            } temporary directory, and the run fails
//
// All ranks call these; the first one writes. Each throws Error if what is to be saved is not finite or differs between
// ranks: such a state never replaces a good checkpoint.
#pragma once

#include <cstdint>
#include <exception>
#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "llmc/system/terminal.h"
#include "quaff/model/model.h"
#include "quaff/run/options.h"
#include "quaff/run/starting_point.h"
#include "quaff/run/training/training_state.h"

namespace quaff {

template <class Device>
class Checkpointer {
  public:
    // All arguments must outlive it. `resumed_from`: the checkpoint of that name after `step`, or "".
    Checkpointer(const Options& options, Terminal& terminal, Model<Device>& model, const StartingPoint& start,
                 const std::string& resumed_from, int64_t step);

    // Whether it could be written; problem() says why not.
    bool save(const TrainingState& state);
    void save_last(const TrainingState& state);
    // out/adapter, with the model's tokenizer and a model card (model_card.h). A checkpoint has neither: it is there to
    // be resumed, and a tokenizer of ten megabytes would be written and hashed again with each of them.
    void save_adapter(const TrainingState& state, const OptionTexts& changed, const nlohmann::ordered_json& eval_after);

    // With --load-best-model-at-end, the model = the best checkpoint, once the run is over; save_last() saves nothing
    // after this. If a rank cannot read it: warns, and `best` has none any more.
    void load_best(BestSoFar& best);

    // Why the last save() failed: a sentence, already told. "": it did not.
    const std::string& problem() const { return problem_; }
    // The newest checkpoint, or "".
    std::string last() const { return saved_.empty() ? "" : saved_.back().second; }
    // The newest one of fewer than `step` steps that is still there, or "".
    std::string last_before(int64_t step) const;

    // Throws Error: what failed, why, and how to continue.
    [[noreturn]] void fail_with_advice(const std::string& what, const std::exception& error) const;

  private:
    using Write = std::function<void(const std::filesystem::path& folder)>;

    std::string folder_of(int64_t step) const;
    std::string advice() const;
    void require_good(const TrainingState& state);
    void write_into(const std::filesystem::path& out, const TrainingState& state);
    void write(const TrainingState& state);
    // Calls write(). If that fails, saves `elsewhere` and throws Error.
    void write_or_rescue(const std::string& what, const TrainingState& state, const std::function<void()>& write,
                         const Write& elsewhere);

    const Options& options_;
    Terminal& terminal_;
    Model<Device>& model_;
    const StartingPoint& start_;
    Comm& comm_;
    std::vector<std::pair<int64_t, std::string>> saved_;  // checkpoints of this run: steps and folder, ascending
    int64_t spared_ = 0;                                  // the step of the best one, which is not removed; 0: none
    bool best_is_loaded_ = false;
    std::string problem_;
};

}  // namespace quaff
