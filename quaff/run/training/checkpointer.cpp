#include "quaff/run/training/checkpointer.h"

#include <cstdlib>
#include <new>

#include "llmc/core/error.h"
#include "llmc/io/file_io.h"
#include "quaff/files/checkpoint_folder.h"
#include "quaff/files/companions.h"
#include "quaff/files/quaff_json.h"
#include "quaff/model/devices.h"
#include "quaff/model/saved_adapter.h"
#include "quaff/run/ranks.h"
#include "quaff/run/training/fingerprints.h"
#include "quaff/run/training/model_card.h"
#include "quaff/run/training/step.h"
#include "quaff/run/training/training_moments.h"

namespace quaff {
namespace {

namespace fs = std::filesystem;

std::string reason_of(const std::exception& error) {
    if (dynamic_cast<const std::bad_alloc*>(&error))
        return "out of memory; lower --batch-size (--plan shows what takes how much)";
    return error.what();
}

// Saves in a new temporary folder. Returns the end of a sentence that says where, or "" if that fails as well.
std::string save_elsewhere(const std::function<void(const fs::path& folder)>& save) {
    std::error_code ignored;
    std::string folder = (fs::temp_directory_path(ignored) / "train_quaff-saved-XXXXXX").string();
    if (::mkdtemp(folder.data()) == nullptr) return "";
    try {
        save(folder);
    } catch (const std::exception&) {
        fs::remove_all(folder, ignored);
        return "";
    }
    return "; it is now in " + folder;
}

}  // namespace

template <class Device>
Checkpointer<Device>::Checkpointer(const Options& options, Terminal& terminal, Model<Device>& model,
                                   const StartingPoint& start, const std::string& resumed_from, int64_t step)
    : options_(options), terminal_(terminal), model_(model), start_(start), comm_(model.comm()) {
    if (!resumed_from.empty()) saved_.emplace_back(step, resumed_from);
}

// ---- what a run can be continued from ------------------------------------------------------------------------------

template <class Device>
std::string Checkpointer<Device>::folder_of(int64_t step) const {
    return (fs::path(options_.out) / ("checkpoint-" + std::to_string(step))).string();
}

template <class Device>
std::string Checkpointer<Device>::last_before(int64_t step) const {
    const int64_t limit = options_.training.save_total_limit;
    const int64_t newest = spared_ > 0 && limit > 1 ? limit - 1 : limit;  // the best one takes the place of another
    const size_t kept = limit > 0 ? static_cast<size_t>(newest) : saved_.size();
    for (size_t i = 0; i < std::min(kept, saved_.size()); ++i) {
        const auto& [steps, folder] = saved_[saved_.size() - 1 - i];
        if (steps < step) return folder;
    }
    if (spared_ > 0 && spared_ < step) return folder_of(spared_);
    return "";
}

template <class Device>
std::string Checkpointer<Device>::advice() const {
    if (saved_.empty()) return "there is no checkpoint yet";
    return concat("the last good checkpoint is ", last(),
                  "; continue from it with: ./train_quaff train --resume --out ", options_.out);
}

template <class Device>
void Checkpointer<Device>::fail_with_advice(const std::string& what, const std::exception& error) const {
    fail(what, ": ", reason_of(error), "; ", advice());
}

// ---- writing -------------------------------------------------------------------------------------------------------

template <class Device>
void Checkpointer<Device>::require_good(const TrainingState& state) {
    comm_.set_time_limit(kPatience);  // rank 0 writes next, and a file system may be slow
    const std::string where = model_.find_nonfinite_state();
    if (!where.empty())
        fail("step ", state.step, ": the ", where, " is not finite, and nothing of it is saved. ", kLowerLearningRate,
             "; ", advice());
    if (comm_.size() > 1)
        require_same(comm_, {{concat("state after step ", state.step), fingerprint_of_state(model_)}});
}

template <class Device>
void Checkpointer<Device>::write_into(const fs::path& out, const TrainingState& state) {
    const auto write = [&](const fs::path& folder) {
        quaff::save_adapter(folder, model_, options_.model.name(), start_.outliers, start_.chat);
        write_moments(folder, model_);
        write_state(folder, state);
    };
    const int64_t spared = options_.training.load_best_model_at_end ? state.best.checkpoint.step : 0;
    write_checkpoint(out, state.step, options_.training.save_total_limit, write, spared);
}

template <class Device>
void Checkpointer<Device>::write(const TrainingState& state) {
    if (comm_.is_first()) write_into(options_.out, state);
    saved_.emplace_back(state.step, folder_of(state.step));
    spared_ = options_.training.load_best_model_at_end ? state.best.checkpoint.step : 0;
}

template <class Device>
bool Checkpointer<Device>::save(const TrainingState& state) {
    require_good(state);
    problem_.clear();
    try {
        write(state);
    } catch (const std::exception& error) {
        problem_ = concat("the checkpoint after step ", state.step, " could not be written: ", reason_of(error));
        terminal_.warn(concat(problem_, ". Training continues; ", advice()));
    }
    comm_.barrier();  // whether it was written or not
    return !comm_.any(!problem_.empty());
}

template <class Device>
void Checkpointer<Device>::load_best(BestSoFar& best) {
    if (!options_.training.load_best_model_at_end || best.checkpoint.step == 0) return;
    comm_.set_time_limit(kPatience);
    const std::string folder = folder_of(best.checkpoint.step), damage = find_damage(folder);
    if (comm_.any(!damage.empty())) {
        terminal_.warn(concat("the best checkpoint cannot be loaded: ",
                              damage.empty() ? concat("not every rank can read ", folder) : damage,
                              "; the adapter is that of the last step"));
        best.checkpoint = {};
        return;
    }
    const ModelConfig& config = model_.config();
    load_adapter(model_, Adapter(folder, config));
    if (const std::optional<QuaffState> state = read_quaff_state(folder, config)) load_scales(model_, state->scales);
    best_is_loaded_ = true;
}

template <class Device>
void Checkpointer<Device>::write_or_rescue(const std::string& what, const TrainingState& state,
                                           const std::function<void()>& write, const Write& elsewhere) {
    try {
        write();
    } catch (const std::exception& error) {
        const bool is_in_checkpoint = last() == folder_of(state.step);
        fail(what, ": ", reason_of(error), is_in_checkpoint ? "" : save_elsewhere(elsewhere), "; ", advice());
    }
}

template <class Device>
void Checkpointer<Device>::save_last(const TrainingState& state) {
    if (best_is_loaded_) return;  // the last step's has been saved, and the adapters are another step's now
    require_good(state);
    write_or_rescue(
        "the checkpoint", state, [&] { write(state); }, [&](const fs::path& folder) { write_into(folder, state); });
}

template <class Device>
void Checkpointer<Device>::save_adapter(const TrainingState& state, const OptionTexts& changed,
                                        const nlohmann::ordered_json& eval_after) {
    require_good(state);
    if (!comm_.is_first()) return;
    const std::string card = model_card(options_, changed, start_.lora, state, eval_after,
                                        best_is_loaded_ ? state.best.checkpoint.step : -1);
    const fs::path target = fs::path(options_.out) / "adapter";
    const auto save = [&](const fs::path& folder) {
        quaff::save_adapter(folder, model_, options_.model.name(), start_.outliers, start_.chat);
        try {
            write_file_atomically(folder / kModelCard, card_to_keep(target, card));
            copy_companions(options_.model.folder, folder, is_tokenizer_file);
        } catch (const std::exception& error) {  // the weights matter more; the tokenizer is with the model, too
            terminal_.warn(concat("the adapter is saved without its card or its tokenizer: ", reason_of(error)));
        }
    };
    write_or_rescue(
        "the adapter", state, [&] { write_folder(target, save); }, save);
}

#define INSTANTIATE(Device) template class Checkpointer<Device>;
QUAFF_FOR_EACH_DEVICE(INSTANTIATE)

}  // namespace quaff
