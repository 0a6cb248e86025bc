#include "quaff/run/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <set>

#include "llmc/core/error.h"
#include "llmc/core/integers.h"
#include "llmc/cpu/peak.h"
#include "llmc/io/sha256.h"
#include "llmc/system/memory_limits.h"
#include "quaff/files/checkpoint_folder.h"
#include "quaff/model/devices.h"
#include "quaff/run/generate.h"
#include "quaff/run/ranks.h"

namespace quaff {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr int64_t kAnswers = 3;      // evaluation examples whose answers are shown before and after
constexpr int64_t kAnswerRoom = 32;  // tokens beyond the true answer that a wrong one may have

constexpr const char* kRemedy = "Lower --learning-rate or --max-grad-norm";  // of what is not finite

std::string reason_of(const std::exception& error) {
    if (dynamic_cast<const std::bad_alloc*>(&error)) return "out of memory; lower --batch-size (--plan tells more)";
    return error.what();
}

// What its own place does not take goes to a folder for temporary files. For a sentence that has said so; "" where that
// fails as well.
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

double seconds_since(std::chrono::steady_clock::time_point begin) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

std::string fingerprint(const std::vector<Example>& examples) {
    Sha256 digest;
    const auto update = [&](const std::vector<int32_t>& ids) {
        const uint64_t size = ids.size();
        digest.update({reinterpret_cast<const char*>(&size), sizeof size});
        digest.update({reinterpret_cast<const char*>(ids.data()), ids.size() * sizeof(int32_t)});
    };
    for (const Example& example : examples) {
        update(example.input_ids);
        update(example.labels);
    }
    return digest.finish();
}

// Config, and of every tensor its name, dtype, shape and first bytes: another model, or the same one trained further,
// is noticed without reading all of it.
std::string fingerprint(const ModelFiles& checkpoint) {
    constexpr size_t kFirstBytes = 4096;
    Sha256 digest;
    digest.update(read_file(checkpoint.directory() / "config.json"));
    for (const SafetensorsFile& shard : checkpoint.shards()) {
        for (const auto& [name, tensor] : shard.tensors()) {
            digest.update(concat(name, " ", tensor.dtype, " ", shape_to_string(tensor.shape), "\n"));
            const auto first = tensor.bytes.first(std::min(kFirstBytes, tensor.bytes.size()));
            digest.update({reinterpret_cast<const char*>(first.data()), first.size()});
        }
    }
    return digest.finish();
}

std::string fingerprint(const OutlierChannels& outliers) {
    Sha256 digest;
    digest.update(nlohmann::json(outliers.channels).dump());
    return digest.finish();
}

// What comes before the first labelled token.
std::vector<int32_t> prompt_of(const Example& example) {
    const auto labelled =
        std::find_if(example.labels.begin(), example.labels.end(), [](int32_t label) { return label != kIgnoreLabel; });
    return {example.input_ids.begin(), example.input_ids.begin() + (labelled - example.labels.begin())};
}

}  // namespace

template <class Device>
Trainer<Device>::Trainer(const Options& options, RunRecord record, Terminal& terminal, const Device& device)
    : options_(options),
      record_(std::move(record)),
      terminal_(terminal),
      device_(device),
      comm_(*device_.comm),
      setup_(options, terminal),
      report_(options, terminal) {}

// ---- before the first step -----------------------------------------------------------------------------------------

template <class Device>
void Trainer<Device>::read_data() {
    train_ = setup_.read(options_.data.file);
    if (!options_.data.eval_file.empty()) {
        eval_ = setup_.read(options_.data.eval_file);
    } else if (options_.data.eval_split > 0) {
        std::tie(train_, eval_) =
            split(std::move(train_), options_.data.eval_split, static_cast<uint64_t>(options_.compute.seed));
        terminal_.line(concat(format_count(eval_.size()), " of the examples ", eval_.size() == 1 ? "is" : "are",
                              " held out for evaluation"));
    }
    data_fingerprint_ = fingerprint(train_.examples);
    exact_match_ =
        eval_.size() > 0 && wants_exact_match(options_.data.exact_match, eval_, options_.data.train_on_source);
}

template <class Device>
void Trainer<Device>::plan_steps() {
    sampler_.emplace(train_.examples, options_.data.batch_size, static_cast<uint64_t>(options_.compute.seed));
    window_ = state_.window > 0 ? state_.window : options_.training.gradient_accumulation_steps * comm_.size();
    const int64_t per_epoch = sampler_->steps_per_epoch(window_);
    total_steps_ = options_.training.max_steps > 0
                       ? options_.training.max_steps
                       : static_cast<int64_t>(std::ceil(options_.training.epochs * static_cast<double>(per_epoch)));
    schedule_.emplace(options_.training.lr_scheduler, options_.training.learning_rate, total_steps_,
                      options_.training.warmup_ratio);
    limits_ = sampler_->limits(0, total_steps_, window_);
    // Evaluation fits the memory that training needs, unless a single one of its examples is longer.
    eval_batches_ = sequential_batches(eval_.examples, options_.data.batch_size, limits_.max_tokens);
    limits_.include(batch_limits(eval_.examples, eval_batches_));
    // The answers have the same room whatever else is trained on.
    for (const Example& example : shown_examples())
        allow_for_text(limits_, setup_.config(), std::ssize(example.input_ids) + kAnswerRoom);
}

template <class Device>
std::span<const Example> Trainer<Device>::shown_examples() const {
    if (!exact_match_ || !setup_.tokenizer()) return {};
    return std::span(eval_.examples).first(static_cast<size_t>(std::min(kAnswers, eval_.size())));
}

// Before anything is computed with them: files of one name may differ between hosts.
template <class Device>
void Trainer<Device>::agree_with_ranks() {
    if (comm_.size() == 1) return;
    require_same(comm_, {{"model", fingerprint(setup_.checkpoint())},
                         {"--data", data_fingerprint_},
                         {"--eval-data", fingerprint(eval_.examples)},
                         {"number of steps", std::to_string(total_steps_)},
                         {"step to go on from", std::to_string(state_.step)}});
    for (const std::string& line : describe_ranks(comm_, device_.describe())) terminal_.line(line);
}

template <class Device>
void Trainer<Device>::prepare_out() {
    comm_.barrier();  // nobody reads there any more
    if (!comm_.is_first()) return;
    const fs::path out = options_.out, origin = resumed_from_.empty() ? "" : run_folder(resumed_from_);
    const bool goes_on_here = !resumed_from_.empty() && fs::equivalent(origin, out);
    const fs::path aside = goes_on_here ? set_later_steps_aside(out, state_.step) : set_earlier_run_aside(out);
    if (!aside.empty())
        terminal_.warn(goes_on_here ? concat("what came after step ", state_.step, " is now in ", aside.string())
                                    : concat(options_.out, " held an earlier run; it is now in ", aside.string(),
                                             " (--resume would have continued it)"));
    write_file_atomically(out / "config.toml", record_.config);
    if (!goes_on_here && frozen_.method == Method::quaff)
        write_outlier_channels(out / "outliers.json", frozen_.outliers);

    if (resumed_from_.empty()) {
        report_.open_log();
        return;
    }
    // A run that goes on in another folder takes the lines of its first part along.
    if (!goes_on_here && fs::exists(origin / "log.jsonl")) fs::copy_file(origin / "log.jsonl", out / "log.jsonl");
    const auto in_time = up_to_step(state_.step);
    report_.open_log([&](const nlohmann::json& line) {
        // Where no step is left, the last evaluation is made and logged again.
        const bool again = state_.step == total_steps_ && line.contains("eval_loss") && line.contains("step") &&
                           line["step"] == state_.step;
        return in_time(line) && !again;
    });
}

template <class Device>
ordered_json Trainer<Device>::plan() {
    read_data();
    plan_steps();
    FrozenLayers frozen;
    if (!options_.model.adapter.empty()) frozen.adapter.emplace(options_.model.adapter, setup_.config());
    frozen.method = options_.compute.method.value_or(Method::quaff);
    if (frozen.method == Method::quaff)
        frozen.outliers = options_.outliers.file.empty()
                              ? most_outlier_channels(setup_.config(), options_.outliers.max_ratio)
                              : read_outlier_channels(options_.outliers.file, setup_.config());
    const BuildOptions build = build_options(options_, frozen, limits_, /*training=*/true, device_.available_memory());
    const Model<Device> planned(device_, setup_.checkpoint(), frozen.outliers, build, /*plan_only=*/true);
    terminal_.result(planned.plan().table());
    terminal_.result(concat(format_bytes(device_.available_memory()), " are available; ", planned.n_recomputed(),
                            " of ", setup_.config().num_hidden_layers, " blocks are recomputed"));
    const std::string lack = lack_of_memory(device_, planned.plan());
    if (!lack.empty()) terminal_.warn("this run would not start: " + lack);
    ordered_json kinds = ordered_json::object();
    for (int kind = 0; kind < static_cast<int>(MemoryKind::count); ++kind)
        kinds[name_of(static_cast<MemoryKind>(kind))] = planned.plan().total(static_cast<MemoryKind>(kind));
    return {{"total_bytes", planned.plan().total()},
            {"bytes", kinds},
            {"available_bytes", device_.available_memory()},
            {"recomputed_blocks", planned.n_recomputed()},
            {"max_tokens", limits_.max_tokens},
            {"max_sequence_length", limits_.max_sequence_length},
            {"max_labelled", limits_.max_labelled}};
}

// ---- the run -------------------------------------------------------------------------------------------------------

template <class Device>
ordered_json Trainer<Device>::run(bool& stopped) {
    stopped = false;
    ordered_json eval_after;
    try {
        prepare();
        train();
        if (eval_.size() > 0) eval_after = to_json(evaluate_now("after"));
        write_final_adapter();
    } catch (const StoppedBySignal&) {
        stopped = true;
        terminal_.clear_status();
    }
    if (stopped && !model_) {
        terminal_.warn("stopped before the first step: there is nothing to go on from");
        return {{"stopped", true}, {"steps", 0}};
    }
    ordered_json result = {
        {"steps", state_.step},
        {"loss", std::stod(format_loss(state_.loss))},
        {"eval_before", state_.eval_before},
        {"eval_after", eval_after},
        {"tokens_per_second", training_seconds_ > 0 ? static_cast<double>(training_tokens_) / training_seconds_ : 0},
        {"peak_memory_bytes", device_.peak_memory()},
        {"planned_memory_bytes", model_->plan().total()},
        {"adapter", (fs::path(options_.out) / "adapter").string()}};
    if (stopped) {
        write_last_checkpoint();
        result["adapter"] = last_checkpoint_;
        result["stopped"] = true;
        terminal_.result(concat("stopped after step ", state_.step, " of ", total_steps_,
                                "; go on with: ./train_quaff train --resume --out ", options_.out));
        return result;
    }
    std::vector<Answer> compared;
    const ordered_json after = answers();
    for (size_t i = 0; i < after.size() && i < state_.answers_before.size(); ++i)
        compared.push_back({eval_.texts[i], state_.answers_before[i], after[i]});
    const bool has_own = options_.data.chat_template == kNoTemplate && train_.has_conversations;
    report_.summary(result, compared, has_own ? kOwnTemplate : options_.data.chat_template);
    return result;
}

// Everything up to the first step: data, channels, the model as it begins or as the checkpoint left it.
template <class Device>
void Trainer<Device>::prepare() {
    comm_.set_time_limit(kPatience);
    read_data();
    // A mistyped --resume is told before a folder of that name is made.
    if (options_.training.resume.empty() || fs::exists(options_.out)) claim_out();
    find_checkpoint();
    if (!out_lock_) claim_out();
    plan_steps();
    if (!resumed_from_.empty()) check_resumable(state_, state_now(), resumed_from_);
    agree_with_ranks();
    // A run may go on on another device than it began on.
    if (!Device::scales_loss) state_.loss_scale.stop();
    if (Device::scales_loss && !state_.loss_scale.active) state_.loss_scale.start();
    // First of all that computes: threads and libraries then have the memory of their own before ours is planned.
    require_room_to_begin(device_);
    peak_ = measure_peak(device_);
    double peaks[] = {peak_.int8_operations, peak_.float_operations};
    comm_.sum(peaks);
    peak_ = {peaks[0], peaks[1]};
    const std::string& adapter = resumed_from_.empty() ? options_.model.adapter : resumed_from_;
    frozen_ = resolve_frozen_layers(setup_, device_, adapter, train_.examples, progress());
    // Not before every file was read: what is wrong with one of them shall not stand below forty options.
    terminal_.table("train_quaff train", record_.shown);
    const BuildOptions build = build_options(options_, frozen_, limits_, /*training=*/true, device_.available_memory());
    model_ = build_model(setup_, device_, frozen_, build);
    if (!resumed_from_.empty()) read_moments(resumed_from_, *model_);
    if (comm_.size() > 1) {
        // Files again, or what calibration found.
        require_same(comm_, {{"set of outlier channels", fingerprint(frozen_.outliers)}});
        check_ranks_agree();
    }
    give_back_freed_memory();  // of calibration and loading
    terminal_.line(model_->plan().table());

    work_.emplace(setup_.config(), build, frozen_.outliers, model_->n_recomputed());
    const std::string computes = comm_.size() > 1 ? counted(comm_.size(), "rank") + " together" : device_.describe();
    terminal_.line(format("peak of %s, measured: %.0f int8 and %.0f %s GFLOP/s", computes.c_str(),
                          peak_.int8_operations * 1e-9, peak_.float_operations * 1e-9, device_.compute_name()));
    prepare_out();
    if (resumed_from_.empty()) return;
    terminal_.line("resumed from " + resumed_from_);
    if (state_.ranks != comm_.size())
        terminal_.warn(concat("the run goes on with ", counted(comm_.size(), "rank"), " and was of ", state_.ranks,
                              ": a step takes ", window_, " micro-batches as before, up to ",
                              ceil_div(window_, comm_.size()), " of each rank"));
}

template <class Device>
void Trainer<Device>::claim_out() {
    if (!comm_.is_first()) return;
    make_directories(options_.out);
    out_lock_.emplace(options_.out);
    remove_leftovers(options_.out);
}

template <class Device>
void Trainer<Device>::find_checkpoint() {
    if (options_.training.resume.empty()) return;
    const std::string& from = options_.training.resume == kNewestCheckpoint ? options_.out : options_.training.resume;
    if (comm_.is_first())
        resumed_from_ = checkpoint_to_resume(from, [&](const std::string& damage) { terminal_.warn(damage); }).string();
    comm_.broadcast(resumed_from_);
    last_checkpoint_ = resumed_from_;
    state_ = read_state(resumed_from_);
}

template <class Device>
void Trainer<Device>::train() {
    if (eval_.size() > 0 && state_.eval_before.is_null()) {
        state_.eval_before = to_json(evaluate_now("before"));
        state_.answers_before = answers();
    }
    rehearse();
    comm_.barrier();
    first_step_ = state_.step;
    while (state_.step < total_steps_) {
        stop_if_asked();
        const int64_t step = state_.step + 1;
        const StepFigures figures = or_say_where(concat("step ", step), [&] { return take_step(step); });
        longest_step_ = std::max(longest_step_, figures.seconds);
        expect_steps();
        const double mean_seconds = training_seconds_ / static_cast<double>(step - first_step_);
        report_.step(step, total_steps_, figures, mean_seconds * static_cast<double>(total_steps_ - step));
        const bool last = step == total_steps_;
        if (!last && options_.training.eval_steps > 0 && step % options_.training.eval_steps == 0 && eval_.size() > 0)
            evaluate_now("at step " + std::to_string(step));
        if (options_.training.save_steps > 0 && (last || step % options_.training.save_steps == 0))
            try_to_write_checkpoint();
    }
}

// A GPU's library has its ways to multiply timed when it meets a new kind of product, which takes memory and time that
// no step has to spare: one micro-batch of every size that the coming epoch has goes through both passes first.
template <class Device>
void Trainer<Device>::rehearse() {
    if constexpr (Device::rehearses) {
        if (!wants_rehearsal(device_)) return;
        const int64_t epoch = sampler_->window(state_.step, window_).epoch;
        std::set<int64_t> rehearsed;
        for (int64_t i = 0; i < sampler_->micro_batches_per_epoch() && state_.step < total_steps_; ++i) {
            const std::vector<int64_t> indices = sampler_->micro_batch(epoch, i);
            if (!rehearsed.insert(size_class(device_, batch_limits(train_.examples, {&indices, 1}).max_tokens)).second)
                continue;
            stop_if_asked();
            model_->rehearse(pack(train_.examples, indices));
        }
        end_rehearsal(device_);
    }
}

template <class Device>
template <class Action>
auto Trainer<Device>::or_say_where(const std::string& name, const Action& action) {
    try {
        return action();
    } catch (const std::exception& error) {
        fail(name, ": ", reason_of(error), "; ", where_to_go_on());
    }
}

template <class Device>
std::string Trainer<Device>::where_to_go_on() const {
    if (last_checkpoint_.empty()) return "there is no checkpoint yet";
    return concat("the last good checkpoint is ", last_checkpoint_,
                  ", go on from it with: ./train_quaff train --resume --out ", options_.out);
}

template <class Device>
StepFigures Trainer<Device>::take_step(int64_t step) {
    const auto begin = std::chrono::steady_clock::now();
    const Window window = sampler_->window(step - 1, window_);
    const std::vector<int64_t> share = sampler_->share(window, comm_.rank(), comm_.size());
    const auto [tokens, labelled] = sampler_->totals(window);
    const Traffic traffic = comm_.traffic();
    std::vector<Batch> batches;
    StepFigures taken;
    taken.tokens = tokens;
    taken.labelled = labelled;
    Work work;
    for (const int64_t m : share) {
        batches.push_back(pack(train_.examples, sampler_->micro_batch(window.epoch, m)));
        work += work_->of(batches.back());
    }
    const auto mine = static_cast<int64_t>(share.size());
    // Others have one micro-batch more, whose maxima come before anybody's gradients are summed: all ranks have to talk
    // in the same order.
    const bool follows = mine * comm_.size() < window.count;
    const bool may_stop = comm_.size() == 1 && mine > 1;
    // Should a signal end the run in the middle of the window, the step was never begun: the scales go back too.
    if (may_stop) model_->keep_scales();
    LossScale& scale = state_.loss_scale;
    model_->zero_gradients();
    double loss_sum = 0;
    for (int64_t i = 0; i < mine; ++i) {
        const Batch& batch = batches[static_cast<size_t>(i)];
        model_->forward(batch, static_cast<float>(scale.value / static_cast<double>(taken.labelled)),
                        static_cast<uint64_t>(state_.micro_batches + share[static_cast<size_t>(i)] - window.first));
        model_->backward(batch, /*last=*/!follows && i + 1 == mine);
        const double loss = model_->losses().loss;  // here the host waits for the device
        if (!std::isfinite(loss)) fail_nonfinite("loss", loss);
        loss_sum += loss;
        if (after_micro_batch) after_micro_batch(step, i + 1, mine);
        if (may_stop && signals_.requested() && i + 1 < mine) {
            model_->restore_scales();
            throw StoppedBySignal{};
        }
        terminal_.status(format("step %lld/%lld  micro-batch %lld/%lld", static_cast<long long>(step),
                                static_cast<long long>(total_steps_), static_cast<long long>(i + 1),
                                static_cast<long long>(mine)));
    }
    if (follows) model_->follow();
    model_->sum_gradients();
    double sums[] = {loss_sum, work.int8_operations, work.float_operations, signals_.requested() ? 1.0 : 0.0};
    comm_.sum(sums);
    taken.loss = sums[0] / static_cast<double>(taken.labelled);
    work = {sums[1], sums[2]};
    all_stop_ = sums[3] > 0;
    taken.grad_norm = model_->gradient_norm() / scale.value;
    taken.learning_rate = schedule_->at(step);
    taken.loss_scale = scale.value;
    if (std::isfinite(taken.grad_norm)) {
        const double clip = options_.training.max_grad_norm > 0
                                ? std::min(1.0, options_.training.max_grad_norm / (taken.grad_norm + 1e-6))
                                : 1.0;
        AdamWOptions adamw;
        adamw.learning_rate = taken.learning_rate;
        adamw.beta1 = options_.training.adam_beta1;
        adamw.beta2 = options_.training.adam_beta2;
        adamw.eps = options_.training.adam_eps;
        adamw.weight_decay = options_.training.weight_decay;
        model_->step(adamw, step - scale.skipped, static_cast<float>(clip / scale.value));
        scale.step_taken();
    } else if (!scale.step_overflowed()) {
        fail_nonfinite("gradient norm", taken.grad_norm);
    }
    taken.skipped = scale.skipped;
    taken.peak_memory = device_.peak_memory();

    taken.seconds = seconds_since(begin);
    taken.ranks = comm_.size();
    taken.communication = {comm_.traffic().bytes - traffic.bytes, comm_.traffic().seconds - traffic.seconds};
    const bool has_peak = peak_.int8_operations > 0 && peak_.float_operations > 0;
    const double floor =
        has_peak ? work.int8_operations / peak_.int8_operations + work.float_operations / peak_.float_operations : 0;
    taken.speed_of_light = floor / taken.seconds;
    state_.step = step;
    state_.micro_batches += window.count;
    state_.epoch = static_cast<double>(window.epoch) + static_cast<double>(window.first + window.count) /
                                                           static_cast<double>(sampler_->micro_batches_per_epoch());
    training_seconds_ += taken.seconds;
    training_tokens_ += taken.tokens;
    state_.loss = taken.loss;
    taken.epoch = state_.epoch;
    return taken;
}

template <class Device>
void Trainer<Device>::fail_nonfinite(const std::string& what, double value) {
    const std::string where = model_->find_nonfinite();
    fail("the ", what, " is ", value, where.empty() ? "" : "; the first tensor that is not finite is the " + where,
         ". ", kRemedy);
}

template <class Device>
Evaluation Trainer<Device>::evaluate_now(const std::string& when) {
    stop_if_asked();  // all ranks or none; progress() asks only those that have something to evaluate
    comm_.set_time_limit(kPatience);
    const Progress tell = progress();
    terminal_.phase("evaluating " + counted(eval_.size(), "example"));
    const Evaluation evaluation =
        evaluate(*model_, eval_, eval_batches_, exact_match_,
                 [&](int64_t done, int64_t total) { tell("evaluating " + when, done, total); });
    expect_steps();
    report_.evaluation(state_.step, when, evaluation);
    return evaluation;
}

template <class Device>
ordered_json Trainer<Device>::answers() {
    ordered_json texts = ordered_json::array();
    if (!comm_.is_first()) return texts;
    const std::vector<int32_t> end = setup_.end_tokens();
    for (const Example& example : shown_examples()) {
        const std::vector<int32_t> made = generate(*model_, prompt_of(example), count_labelled(example) + kAnswerRoom,
                                                   end, {}, 0, [](int32_t) { return true; });
        texts.push_back(setup_.tokenizer()->decode(made, /*skip_special=*/true));
    }
    return texts;
}

// ---- stopping and going on -----------------------------------------------------------------------------------------

template <class Device>
TrainingState Trainer<Device>::state_now() const {
    TrainingState state = state_;
    state.seed = options_.compute.seed;
    state.ranks = comm_.size();
    state.window = window_;
    state.model = fingerprint(setup_.checkpoint());
    state.data = data_fingerprint_;
    state.options = record_.fixed;
    // The number of steps shapes every schedule that comes down again; with the others a run may be prolonged.
    if (options_.training.lr_scheduler != Schedule::constant)
        state.options.emplace_back("max-steps", std::to_string(total_steps_));
    return state;
}

template <class Device>
void Trainer<Device>::check_ranks_agree() {
    if (comm_.size() == 1) return;
    Sha256 digest;
    const auto update = [&](std::span<const float> values) {
        digest.update({reinterpret_cast<const char*>(values.data()), values.size_bytes()});
    };
    for (const std::span<float> values : {model_->parameters(), model_->adam_m(), model_->adam_v()})
        update(model_->read(values));
    for (const LayerScales& layer : model_->scales()) update(layer.s);
    require_same(comm_, {{concat("state after step ", state_.step), digest.finish()}});
}

// A step whose update went wrong is noticed before it takes the place of a good checkpoint.
template <class Device>
void Trainer<Device>::require_good_state() {
    comm_.set_time_limit(kPatience);  // rank 0 writes next, and a file system may be slow
    const std::string where = model_->find_nonfinite_state();
    if (!where.empty())
        fail("step ", state_.step, ": the ", where, " is not finite, and nothing of it is saved. ", kRemedy, "; ",
             where_to_go_on());
    check_ranks_agree();
}

template <class Device>
void Trainer<Device>::try_to_write_checkpoint() {
    require_good_state();
    try {
        write_checkpoint_now();
    } catch (const std::exception& error) {
        terminal_.warn(concat("the checkpoint after step ", state_.step, " could not be written: ", reason_of(error),
                              "; training goes on; ", where_to_go_on()));
    }
    comm_.barrier();  // whether it was written or not
    expect_steps();
}

template <class Device>
void Trainer<Device>::write_final_adapter() {
    require_good_state();
    if (!comm_.is_first()) return;
    const auto save = [&](const fs::path& folder) { save_adapter(folder, *model_, frozen_, options_); };
    or_say_where("the adapter", [&] {
        try {
            write_folder(fs::path(options_.out) / "adapter", save);
        } catch (const std::exception& error) {
            const bool is_in_checkpoint = last_checkpoint_ == checkpoint_now();
            fail(reason_of(error), is_in_checkpoint ? "" : save_elsewhere(save));
        }
    });
}

template <class Device>
std::string Trainer<Device>::checkpoint_now() const {
    return (fs::path(options_.out) / ("checkpoint-" + std::to_string(state_.step))).string();
}

template <class Device>
void Trainer<Device>::write_checkpoint_into(const fs::path& out) {
    write_checkpoint(out, state_.step, options_.training.save_total_limit, [&](const fs::path& folder) {
        save_adapter(folder, *model_, frozen_, options_);
        write_moments(folder, *model_);
        write_state(folder, state_now());
    });
}

template <class Device>
void Trainer<Device>::write_checkpoint_now() {
    if (comm_.is_first()) write_checkpoint_into(options_.out);
    last_checkpoint_ = checkpoint_now();
}

// Of a run that is asked to stop: there is no later one to make good for it.
template <class Device>
void Trainer<Device>::write_last_checkpoint() {
    require_good_state();
    or_say_where("the checkpoint", [&] {
        try {
            write_checkpoint_now();
        } catch (const std::exception& error) {
            const auto save = [&](const fs::path& folder) { write_checkpoint_into(folder); };
            const bool is_written = last_checkpoint_ == checkpoint_now();
            fail(reason_of(error), is_written ? "" : save_elsewhere(save));
        }
    });
}

template <class Device>
void Trainer<Device>::stop_if_asked() const {
    if (comm_.size() == 1 ? signals_.requested() : all_stop_) throw StoppedBySignal{};
}

template <class Device>
void Trainer<Device>::expect_steps() {
    // A rank whose share is the smaller one waits for the others' as long as a step may take.
    const double late = static_cast<double>(options_.compute.comm_timeout) + 2 * longest_step_;
    comm_.set_time_limit(longest_step_ > 0 ? late : kPatience);
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
