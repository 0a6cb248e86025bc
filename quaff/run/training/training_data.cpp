#include "quaff/run/training/training_data.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <system_error>
#include <tuple>

#include "llmc/core/error.h"
#include "quaff/run/training/answers.h"

namespace quaff {

namespace {

void warn_of_files_in_both(const DataOptions& data, Terminal& terminal) {
    for (const std::string& file : data.files)
        for (const std::string& eval_file : data.eval_files)
            if (std::error_code ignored; file == eval_file || std::filesystem::equivalent(file, eval_file, ignored))
                terminal.warn(concat(file,
                                     " is trained on and evaluated on: the evaluation says nothing about examples "
                                     "that the model has not seen"));
}

}  // namespace

TrainingData read_training_data(const Options& options, const ModelConfig& config, const ExampleReader& reader,
                                Terminal& terminal) {
    TrainingData data;
    std::ranges::for_each(options.data.eval_files, check_readable);
    const bool splits = options.data.eval_files.empty() && options.data.eval_split > 0;
    data.train = reader.read(options.data.files, /*keep_texts=*/splits);
    if (!options.data.eval_files.empty()) {
        warn_of_files_in_both(options.data, terminal);
        data.eval = reader.read(options.data.eval_files);
    } else if (splits) {
        std::tie(data.train, data.eval) =
            split(std::move(data.train), options.data.eval_split, static_cast<uint64_t>(options.compute.seed));
        terminal.line(concat(format_count(data.eval.size()), " of the examples ", data.eval.size() == 1 ? "is" : "are",
                             " held out for evaluation"));
    }
    take_eval_samples(data.eval, options, terminal);
    data.train.texts = {};
    data.task = plan_task(options, data.eval, reader, config, terminal);
    return data;
}

void tell_idle_schedule(const StepPlan& steps, Schedule schedule, Terminal& terminal) {
    for (int64_t step = 1; step <= steps.total_steps; ++step)
        if (steps.schedule.at(step) > 0) return;
    terminal.warn(concat("--lr-scheduler ", name_in(kScheduleNames, schedule), ": the learning rate of ",
                         steps.total_steps == 1 ? "the only step" : "every step",
                         " is 0, so that training changes nothing; take more steps, or --lr-scheduler constant"));
}

AdamWOptions adamw_options(const TrainingOptions& training, double learning_rate) {
    return {.learning_rate = learning_rate,
            .beta1 = training.adam_beta1,
            .beta2 = training.adam_beta2,
            .eps = training.adam_eps,
            .weight_decay = training.weight_decay};
}

StepPlan plan_steps(const Options& options, const TrainingData& data, const ExampleReader& reader,
                    const ModelConfig& config, int64_t window) {
    const TrainingOptions& training = options.training;
    Sampler sampler(data.train.examples, options.data.batch_size, static_cast<uint64_t>(options.compute.seed));
    const auto per_epoch = static_cast<double>(sampler.steps_per_epoch(window));
    const int64_t total_steps =
        training.max_steps > 0 ? training.max_steps : static_cast<int64_t>(std::ceil(training.epochs * per_epoch));
    BatchLimits limits = sampler.limits(0, total_steps, window);
    // Evaluation fits the memory that training needs, unless a single one of its examples is longer.
    auto eval_batches = sequential_batches(data.eval.examples, options.data.batch_size, limits.max_tokens);
    limits.include(batch_limits(data.eval.examples, eval_batches));
    allow_for_task(limits, data.task, data.eval, reader, config);
    allow_for_answers(limits, data, reader, config);
    return {.sampler = std::move(sampler),
            .schedule = {training.lr_scheduler, training.learning_rate, total_steps, training.warmup_ratio,
                         training.lr_shape},
            .total_steps = total_steps,
            .window = window,
            .eval_batches = std::move(eval_batches),
            .limits = limits};
}

}  // namespace quaff
