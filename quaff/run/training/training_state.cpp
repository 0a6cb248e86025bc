#include "quaff/run/training/training_state.h"

#include <map>

#include "llmc/core/error.h"
#include "llmc/core/integers.h"
#include "llmc/io/file_io.h"
#include "llmc/io/json.h"
#include "llmc/system/terminal.h"

namespace quaff {
namespace {

namespace fs = std::filesystem;

constexpr const char* kState = "state.json";
constexpr int kFormat = 1;  // of state.json

}  // namespace

void write_state(const fs::path& folder, const TrainingState& state) {
    nlohmann::ordered_json options = nlohmann::ordered_json::object();
    for (const auto& [name, value] : state.options) options[name] = value;
    const nlohmann::ordered_json object = {{"format", kFormat},
                                           {"step", state.step},
                                           {"epoch", state.epoch},
                                           {"loss", state.loss},
                                           {"ranks", state.ranks},
                                           {"micro_batches_per_step", state.window},
                                           {"model", {{"fingerprint", state.model}}},
                                           {"data", {{"fingerprint", state.data}, {"next_step", state.step}}},
                                           {"eval_data", {{"fingerprint", state.eval_data}}},
                                           {"rng", {{"seed", state.seed}, {"micro_batches", state.micro_batches}}},
                                           {"loss_scale",
                                            {{"active", state.loss_scale.active},
                                             {"value", state.loss_scale.value},
                                             {"good_steps", state.loss_scale.good_steps},
                                             {"skipped", state.loss_scale.skipped}}},
                                           {"best", to_json(state.best)},
                                           {"options", options},
                                           {"eval_before", state.eval_before},
                                           {"answers_before", state.answers_before}};
    write_file_atomically(folder / kState, object.dump(2) + "\n");
}

TrainingState read_state(const fs::path& folder) {
    const nlohmann::json tree = read_json(folder / kState);
    const JsonObject object(tree, (folder / kState).string());
    const int64_t format = object.integer("format", 0, INT64_MAX);
    require(format == kFormat, object.field("format"), " is ", format, "; this program reads format ", kFormat);
    TrainingState state;
    state.step = object.integer("step", 0, INT64_MAX);
    state.epoch = object.number("epoch", 0, 1e18);
    state.loss = object.number("loss", -1e30, 1e30);
    if (object.has("ranks")) {
        state.ranks = object.integer("ranks", 1, INT32_MAX);
        state.window = object.integer("micro_batches_per_step", 0, INT64_MAX);
    }
    state.model = object.object("model").string("fingerprint");
    state.data = object.object("data").string("fingerprint");
    if (object.has("eval_data")) state.eval_data = object.object("eval_data").string("fingerprint");
    state.seed = object.object("rng").integer("seed", 0, INT64_MAX);
    state.micro_batches = object.object("rng").integer("micro_batches", 0, INT64_MAX);
    if (object.has("loss_scale")) {
        const JsonObject loss_scale = object.object("loss_scale");
        state.loss_scale.active = loss_scale.boolean("active", false);
        state.loss_scale.value = loss_scale.number("value", 1, LossScale::kLargest);
        state.loss_scale.good_steps = loss_scale.integer("good_steps", 0, INT64_MAX);
        state.loss_scale.skipped = loss_scale.integer("skipped", 0, state.step);
    }
    if (object.has("best")) state.best = read_best(object.object("best"));
    for (const auto& [name, value] : object.value("options").items())
        state.options.emplace_back(name, value.is_string() ? value.get<std::string>() : value.dump());
    if (object.has("eval_before")) state.eval_before = object.value("eval_before");
    if (object.has("answers_before")) state.answers_before = object.value("answers_before");
    return state;
}

void check_resumable(const TrainingState& before, const TrainingState& now, const std::string& checkpoint) {
    const std::map<std::string, std::string> asked(now.options.begin(), now.options.end());
    std::string changed;
    for (const auto& [name, value] : before.options) {
        const auto found = asked.find(name);
        if (found == asked.end() || found->second == value) continue;
        changed +=
            concat(changed.empty() ? "" : ", ", "--", name, " was '", value, "' and is now '", found->second, "'");
    }
    if (!changed.empty())
        throw UsageError(concat(checkpoint, " belongs to a run with other options: ", changed,
                                ". Resume with the old ones, or start a new run with another --out"));
    require(before.model == now.model, checkpoint, " belongs to another model than --model names");
    require(before.data == now.data, checkpoint, " was trained on other examples than --data holds now; restore the ",
            "file, or start a new run with another --out");
}

std::vector<std::string> differences(const TrainingState& before, const TrainingState& now) {
    std::vector<std::string> sentences;
    if (before.ranks != now.ranks)
        sentences.push_back(concat("the run had ", counted(before.ranks, "rank"), " and continues with ", now.ranks,
                                   ": a step still takes ", now.window,
                                   now.window == 1 ? " micro-batch" : " micro-batches", ", up to ",
                                   ceil_div(now.window, now.ranks), " on each rank"));
    if (!before.eval_data.empty() && before.eval_data != now.eval_data)
        sentences.emplace_back(
            "the examples of --eval-data are others than before: figures from before and after this point are not of "
            "the same questions");
    return sentences;
}

}  // namespace quaff
