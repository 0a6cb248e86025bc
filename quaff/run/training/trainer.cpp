#include "quaff/run/training/trainer.h"

#include <filesystem>

#include "llmc/core/error.h"
#include "llmc/core/integers.h"
#include "llmc/cpu/peak.h"
#include "llmc/system/memory_limits.h"
#include "quaff/files/checkpoint_folder.h"
#include "quaff/model/devices.h"
#include "quaff/run/memory_room.h"
#include "quaff/run/metrics/measure.h"
#include "quaff/run/open_model.h"
#include "quaff/run/ranks.h"
#include "quaff/run/training/answers.h"
#include "quaff/run/training/fingerprints.h"
#include "quaff/run/training/rehearsal.h"
#include "quaff/run/training/training_moments.h"

namespace quaff {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

template <class Device>
Trainer<Device>::Trainer(const Options& options, RunRecord record, Terminal& terminal, const Device& device)
    : options_(options),
      record_(std::move(record)),
      terminal_(terminal),
      device_(device),
      comm_(*device_.comm),
      best_(options.training),
      files_(open_model_to_run(options, terminal)),
      reader_(options, files_.config(), terminal),
      report_(options, terminal),
      out_(options.out, terminal) {}

// ---- before the first step -----------------------------------------------------------------------------------------

template <class Device>
void Trainer<Device>::prepare() {
    comm_.set_time_limit(kPatience);
    if (comm_.is_first()) check_predictions_file(options_.data.predictions);
    // A resumed run lays its texts out as it did before.
    const bool resumes = !options_.training.resume.empty();
    if (resumes) {
        find_checkpoint();
        reader_.follow(resumed_from_);
    }
    data_ = read_training_data(options_, files_.config(), reader_, terminal_);
    if (!resumes) find_checkpoint();
    prepare_state();
    // The first computation: threads and libraries take their memory before the model's is planned.
    require_room_to_begin(device_);
    const Peak peak = sum_over_ranks(measure_peak(device_), comm_);
    prepare_model();

    const WorkModel work(files_.config(), model_->options(), start_.outliers, model_->n_recomputed());
    meter_.emplace(work, peak, comm_);
    const std::string computes = comm_.size() > 1 ? counted(comm_.size(), "rank") + " together" : device_.describe();
    terminal_.line(format("peak of %s, measured: %.0f int8 and %.0f %s GFLOP/s", computes.c_str(),
                          peak.int8_operations * 1e-9, peak.float_operations * 1e-9, device_.compute_name()));
    prepare_out();
    outlier_watch_.emplace(options_, start_, files_, *model_, terminal_, state_.step);
    checkpoints_.emplace(options_, terminal_, *model_, start_, resumed_from_, state_.step);
}

// Claims --out, and reads where a resumed run stands.
template <class Device>
void Trainer<Device>::find_checkpoint() {
    const auto claim_out = [&] {
        if (comm_.is_first()) out_.claim();
    };
    // A mistyped --resume must not create a folder of that name.
    const std::string& resume = options_.training.resume;
    const bool claims_first = resume.empty() || fs::exists(options_.out);
    if (claims_first) claim_out();
    if (!resume.empty()) {
        if (comm_.is_first())
            resumed_from_ = checkpoint_to_resume(resume == kNewestCheckpoint ? options_.out : resume,
                                                 [&](const std::string& damage) { terminal_.warn(damage); })
                                .string();
        comm_.broadcast(resumed_from_);
        state_ = read_state(resumed_from_);
    }
    if (!claims_first) claim_out();
}

// Cuts the data into steps. All ranks must agree on them, and on where the run begins, before they compute: files of
// the same name may differ between hosts.
template <class Device>
void Trainer<Device>::prepare_state() {
    const int64_t window =
        state_.window > 0 ? state_.window : options_.training.gradient_accumulation_steps * comm_.size();
    steps_.emplace(plan_steps(options_, data_, reader_, files_.config(), window));
    if (best_.is_wanted()) best_.require_possible(steps_->total_steps, data_.eval.size(), data_.task);

    TrainingState now = state_;
    now.seed = options_.compute.seed;
    now.ranks = comm_.size();
    now.window = window;
    now.model = fingerprint(files_);
    now.data = fingerprint(data_.train.examples);
    now.eval_data = fingerprint(data_.eval.examples);
    now.options = record_.fixed;
    // A run may be prolonged if this changes no step that it has taken.
    if (steps_->schedule.depends_on_length())
        now.options.emplace_back("max-steps", std::to_string(steps_->total_steps));
    if (!resumed_from_.empty()) {
        check_resumable(state_, now, resumed_from_);
        for (const std::string& sentence : differences(state_, now)) terminal_.warn(sentence);
    }
    state_ = now;
    if (!resumed_from_.empty()) best_.forget_if_lost(state_.best, run_folder(resumed_from_), comm_, terminal_);
    tell_idle_schedule(*steps_, options_.training.lr_scheduler, terminal_);
    // A run may continue on another device than it began on.
    if (!Device::scales_loss) state_.loss_scale.stop();
    if (Device::scales_loss && !state_.loss_scale.active) state_.loss_scale.start();

    if (comm_.size() == 1) return;
    require_same(comm_, {{"model", state_.model},
                         {"--data", state_.data},
                         {"--eval-data", state_.eval_data},
                         {"number of steps", std::to_string(steps_->total_steps)},
                         {"step to continue from", std::to_string(state_.step)}});
    for (const std::string& line : describe_ranks(comm_, device_.describe())) terminal_.line(line);
}

template <class Device>
void Trainer<Device>::prepare_model() {
    start_ =
        starting_point(options_, files_, resumed_from_.empty() ? options_.model.adapter : resumed_from_, terminal_);
    start_.chat = reader_.chat().settings();
    // After the files are read: the message about a bad one would be lost below the options.
    terminal_.table(record_.heading, record_.shown);
    find_outlier_channels(start_, options_, files_, device_, reader_, data_.train.examples, terminal_, progress());
    model_ =
        build_model(files_, device_, start_,
                    build_options(options_, start_, steps_->limits, /*training=*/true, device_.available_memory()));
    if (!resumed_from_.empty()) read_moments(resumed_from_, *model_);
    if (comm_.size() > 1)  // they may have read different files, or calibrated differently
        require_same(comm_, {{"set of outlier channels", fingerprint(start_.outliers)},
                             {concat("state after step ", state_.step), fingerprint_of_state(*model_)}});
    give_back_freed_memory();  // of calibration and loading
    terminal_.line(model_->plan().table());
}

template <class Device>
void Trainer<Device>::prepare_out() {
    comm_.barrier();  // no rank reads --out any more
    if (!comm_.is_first()) return;
    out_.begin(record_.config, start_, resumed_from_, state_.step, state_.best.checkpoint.step);
    if (resumed_from_.empty()) {
        report_.open_log();
        return;
    }
    const auto is_kept = up_to_step(state_.step);
    report_.open_log([&](const nlohmann::json& line) {
        // If no step is left, the last evaluation is repeated and logged anew; that of a best checkpoint always is.
        const bool again = is_over() && !best_.is_wanted() && line.contains("eval_loss") && line.contains("step") &&
                           line["step"] == state_.step;
        return is_kept(line) && !again && !line.contains("best_step");
    });
    terminal_.line("resumed from " + resumed_from_);
}

// ---- the run -------------------------------------------------------------------------------------------------------

template <class Device>
ordered_json Trainer<Device>::run(bool& stopped) {
    stopped = false;
    try {
        prepare();
        evaluate_before();
        train();
        checkpoints_->load_best(state_.best);
        const ordered_json eval_after = evaluate_after();
        checkpoints_->save_adapter(state_, record_.changed, eval_after);
        return finish(eval_after);
    } catch (const StoppedBySignal&) {
        stopped = true;
        terminal_.clear_status();
        return finish_stopped();
    }
}

template <class Device>
void Trainer<Device>::train() {
    rehearse(*model_, *steps_, data_.train.examples, state_.step, [this] { stop_if_asked(); });
    comm_.barrier();
    // A signal may have come before the evaluation of the step that was the last one.
    if (best_.lacks_evaluation(state_.best, state_.step)) evaluate_and_save(state_.step);
    while (!is_over()) {
        stop_if_asked();
        const int64_t step = state_.step + 1;
        StepFigures figures;
        outlier_watch_->begin_step(step);
        try {
            figures = take_step(step);
        } catch (const std::exception& error) {
            checkpoints_->fail_with_advice(concat("step ", step), error);
        }
        expect_steps();
        vanished_.update(step, figures.loss, figures.grad_norm);
        figures.warning = vanished_.note();
        report_.step(step, steps_->total_steps, figures, meter_->seconds_for(steps_->total_steps - step));
        if (const int64_t changed = outlier_watch_->end_step(step)) report_.refreshed(step, changed);
        if (vanished_.is_proven()) fail(vanished_.verdict(good_checkpoint()));
        evaluate_and_save(step);
    }
}

template <class Device>
void Trainer<Device>::evaluate_and_save(int64_t step) {
    const TrainingOptions& training = options_.training;
    const bool is_due = training.eval_steps > 0 && step % training.eval_steps == 0 && data_.eval.size() > 0;
    // The last step's evaluation comes after training. A run that may be prolonged needs its figure here, too.
    const bool evaluates = is_due && (step < steps_->total_steps || best_.is_wanted());
    double figure = NAN;
    if (evaluates) {
        const Evaluation evaluation = evaluate_now(concat("at step ", step), best_.between_steps(data_.task));
        report_.evaluation(step, concat("at step ", step), evaluation,
                           rise_warning(state_.eval_before, evaluation, step, state_.epoch));
        if (best_.is_wanted()) figure = best_.update(state_.best, step, to_json(evaluation));
        comm_.barrier();  // rank 0 writes it down, and draws the page
        expect_steps();
    }
    if (training.save_steps == 0 || vanished_.is_zero()) return;
    if (!is_over() && step % training.save_steps != 0) return;
    const EvaluatedStep before = state_.best.checkpoint;
    best_.update_checkpoint(state_.best, step, figure);
    if (!evaluates) report_.write_page();  // while the others wait for the checkpoint
    // A checkpoint that is not there cannot be the best one.
    if (!checkpoints_->save(state_)) {
        state_.best.checkpoint = before;
        report_.trouble(step, "checkpoint", checkpoints_->problem());
    }
    expect_steps();
}

template <class Device>
StepFigures Trainer<Device>::take_step(int64_t step) {
    meter_->begin();
    const TrainingOptions& training = options_.training;
    const Sampler& sampler = steps_->sampler;
    const Window window = sampler.window(step - 1, steps_->window);
    const StepShare share =
        share_of(window, sampler, data_.train.examples, static_cast<uint64_t>(state_.micro_batches), comm_);
    const auto count = std::ssize(share.batches);
    const AdamWOptions adamw = adamw_options(training, steps_->schedule.at(step));

    Work work = meter_->work_of(share);
    StepCalls calls;
    calls.after_micro_batch = [&](int64_t done) {
        if (after_micro_batch) after_micro_batch(step, done, count);
        if (share.may_stop && done < count && signals_.requested()) throw StoppedBySignal{};
        report_.micro_batch(step, steps_->total_steps, done, count);
    };
    // One message carries all that ranks add up on the host.
    calls.sum_over_ranks = [&](double loss) {
        double sums[] = {loss, signals_.requested() ? 1.0 : 0.0, work.int8_operations, work.float_operations,
                         work.gradient_operations};
        comm_.sum(sums);
        all_stop_ = sums[1] > 0;
        work = {sums[2], sums[3], sums[4]};
        return sums[0];
    };
    const StepResult result =
        quaff::take_step(*model_, share, adamw, training.max_grad_norm, step, state_.loss_scale, calls);

    state_.step = step;
    state_.micro_batches += window.count;
    state_.epoch = static_cast<double>(window.epoch) + static_cast<double>(window.first + window.count) /
                                                           static_cast<double>(sampler.micro_batches_per_epoch());
    state_.loss = result.loss;
    StepFigures figures = meter_->end(share, work, result);
    figures.epoch = state_.epoch;
    figures.learning_rate = adamw.learning_rate;
    figures.skipped = state_.loss_scale.skipped;
    figures.peak_memory = device_.peak_memory();
    figures.planned_memory = model_->plan().total();
    return figures;
}

// ---- evaluation ----------------------------------------------------------------------------------------------------

template <class Device>
Evaluation Trainer<Device>::evaluate_now(const std::string& when, const Task& task) {
    stop_if_asked();  // all ranks or none; progress() asks only those that have something to evaluate
    comm_.set_time_limit(kPatience);
    terminal_.phase("evaluating " + counted(data_.eval.size(), "example"));
    try {
        return evaluate_task(*model_, data_.eval, steps_->eval_batches, task, reader_, progress());
    } catch (const std::exception& error) {
        checkpoints_->fail_with_advice("the evaluation " + when, error);
    }
}

template <class Device>
void Trainer<Device>::evaluate_before() {
    if (!options_.training.eval_on_start || data_.eval.size() == 0 || !state_.eval_before.is_null()) return;
    const Evaluation evaluation = evaluate_now("before training", data_.task.without_predictions());
    report_.evaluation(state_.step, "before training", evaluation);
    state_.eval_before = to_json(evaluation);
    state_.answers_before = comm_.is_first() ? answers(*model_, data_, reader_) : ordered_json::array();
}

template <class Device>
ordered_json Trainer<Device>::evaluate_after() {
    if (data_.eval.size() == 0) return {};
    const Evaluation evaluation = evaluate_now("after training", data_.task);
    is_better_ = loss_increase(state_.eval_before, evaluation) < 0;
    report_.evaluation(state_.step, "after training", evaluation,
                       rise_warning(state_.eval_before, evaluation, state_.step, state_.epoch),
                       best_.is_wanted() ? best_.chosen(state_.best).step : -1);
    return to_json(evaluation);
}

// ---- the end -------------------------------------------------------------------------------------------------------

template <class Device>
ordered_json Trainer<Device>::result(const ordered_json& eval_after) const {
    return {{"steps", state_.step},
            {"loss", std::stod(format_loss(state_.loss))},
            {"eval_before", state_.eval_before},
            {"eval_after", eval_after},
            {"tokens_per_second", meter_->tokens_per_second()},
            {"peak_memory_bytes", device_.peak_memory()},
            {"planned_memory_bytes", model_->plan().total()},
            {"adapter", (fs::path(options_.out) / "adapter").string()}};
}

template <class Device>
ordered_json Trainer<Device>::finish(const ordered_json& eval_after) {
    ordered_json object = result(eval_after);
    if (best_.is_wanted()) object.update(best_.result(state_.best));
    if (vanished_.is_suspect() && !is_better_) {
        comm_.barrier();  // rank 0 may still be writing the adapter, and a failing rank ends it
        fail(vanished_.verdict(good_checkpoint()), "; the adapter as it is now is in ",
             object["adapter"].get<std::string>());
    }
    const ordered_json after = comm_.is_first() ? answers(*model_, data_, reader_) : ordered_json::array();
    outlier_watch_->finish();
    report_.summary(object, first_answer(data_.eval, state_.answers_before, after), start_.method);
    const std::string why = why_unusable(state_.eval_before, eval_after, state_.loss, files_.config().vocab_size);
    if (!why.empty()) {
        comm_.barrier();  // as above
        fail(why, "; the adapter as it is now is in ", object["adapter"].get<std::string>());
    }
    return object;
}

template <class Device>
ordered_json Trainer<Device>::finish_stopped() {
    if (!checkpoints_) {
        terminal_.warn("stopped before the first step: there is nothing to resume");
        return {{"stopped", true}, {"steps", 0}};
    }
    ordered_json object = result({});
    checkpoints_->save_last(state_);
    report_.write_page();
    object["adapter"] = checkpoints_->last();
    object["stopped"] = true;
    if (vanished_.is_suspect()) terminal_.warn(vanished_.suspicion(good_checkpoint()));
    terminal_.result(concat("stopped after step ", state_.step, " of ", steps_->total_steps,
                            "; continue with: ./train_quaff train --resume --out ", options_.out));
    return object;
}

template <class Device>
std::string Trainer<Device>::good_checkpoint() const {
    return checkpoints_->last_before(vanished_.first() - 1);
}

// ---- signals and ranks ---------------------------------------------------------------------------------------------

template <class Device>
void Trainer<Device>::stop_if_asked() const {
    if (comm_.size() == 1 ? signals_.requested() : all_stop_) throw StoppedBySignal{};
}

template <class Device>
void Trainer<Device>::expect_steps() {
    // A rank with a smaller share waits for the others as long as a step takes.
    const double longest = meter_->longest(), late = static_cast<double>(options_.compute.comm_timeout) + 2 * longest;
    comm_.set_time_limit(longest > 0 ? late : kPatience);
}

template <class Device>
Progress Trainer<Device>::progress() {
    return [this, line = ProgressLine(terminal_)](const std::string& what, int64_t done, int64_t total) mutable {
        stop_if_asked();
        line.show(what, done, total);
    };
}

#define INSTANTIATE(Device) template class Trainer<Device>;
QUAFF_FOR_EACH_DEVICE(INSTANTIATE)

}  // namespace quaff
