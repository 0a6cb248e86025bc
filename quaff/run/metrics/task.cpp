#include "quaff/run/metrics/task.h"

#include <algorithm>
#include <filesystem>

#include "llmc/core/error.h"
#include "quaff/run/memory_room.h"
#include "quaff/run/metrics/answers.h"
#include "quaff/run/metrics/chosen_metrics.h"

namespace quaff {
namespace {

constexpr int64_t kWindow = 2048;  // tokens, unless the model has fewer positions

TextWindow window_of(const DataOptions& options, const ModelConfig& config) {
    const int64_t positions = config.max_position_embeddings;
    require(positions == 0 || options.window <= positions, "--window ", options.window, ": the model has only ",
            positions, " positions; lower it");
    TextWindow window;
    window.length = options.window > 0 ? options.window : positions > 0 ? std::min(kWindow, positions) : kWindow;
    window.stride = options.stride > 0 ? std::min(options.stride, window.length) : window.length;
    return window;
}

int64_t longest_answer(const Dataset& data) {
    int64_t longest = 0;
    for (size_t i = 0; i < data.examples.size(); ++i)
        longest = std::max(longest, std::ssize(question_of(data.examples[i], data.texts[i]).answer));
    return longest;
}

OptionExamples options_of(const Dataset& data, size_t position, const ExampleReader& reader, int64_t batch_size) {
    const SourceTarget& text = data.texts[position];
    return option_examples(question_of(data.examples[position], text).prompt, text.choices, reader.encoding(),
                           batch_size);
}

void check_options_fit(const Dataset& data, const ExampleReader& reader, const ModelConfig& config) {
    const int64_t positions = config.max_position_embeddings;
    for (size_t i = 0; i < data.examples.size() && positions > 0; ++i) {
        const OptionExamples options = options_of(data, i, reader, 1);
        for (const Example& example : options.examples)
            require(std::ssize(example.input_ids) <= positions, data.place(static_cast<int64_t>(i)),
                    ": the prompt and one of its options have ", std::ssize(example.input_ids),
                    " tokens, but the model has only ", positions, " positions; lower --source-max-len to ",
                    "drop examples of this length, or choose other --metrics");
    }
}

}  // namespace

bool Task::has(Metric metric) const {
    return std::ranges::find(metrics, metric) != metrics.end();
}

bool Task::answers() const {
    return std::ranges::any_of(metrics, needs_answer) || (!predictions.empty() && !has(Metric::word_perplexity));
}

Task Task::without_predictions() const {
    Task task = *this;
    task.predictions.clear();
    return task;
}

Task Task::exact_matches_alone() const {
    Task task = without_predictions();
    std::erase_if(task.metrics, [](Metric metric) { return metric != Metric::exact_match; });
    return task;
}

Task plan_task(const Options& options, const Dataset& data, const ExampleReader& reader, const ModelConfig& config,
               Terminal& terminal) {
    Task task;
    const bool train_on_source = reader.chat().settings().train_on_source;
    if (data.size() == 0 && !options.data.predictions.empty())
        throw UsageError(
            "--predictions: there are no evaluation examples; give --eval-data, or an --eval-split above 0");
    if (train_on_source && !options.data.predictions.empty())
        throw UsageError(
            "--predictions: with --train-on-source examples have no prompt to answer; leave one of them out");
    if (data.size() == 0) return task;
    task.metrics = chosen_metrics(options.data, data, train_on_source, terminal);
    task.predictions = options.data.predictions;
    task.window = window_of(options.data, config);
    task.batch_size = options.data.batch_size;
    task.max_answer_tokens =
        options.data.max_answer_tokens > 0 ? options.data.max_answer_tokens : longest_answer(data) + kAnswerRoom;
    const bool needs_text = !task.predictions.empty() || std::ranges::any_of(task.metrics, [](Metric metric) {
        return metric != Metric::exact_match;
    });
    require(!needs_text || reader.tokenizer(), options.model.folder,
            ": has neither tokenizer.json nor tokenizer.model; ",
            "metrics and predictions are about texts and need one");
    if (std::ranges::any_of(task.metrics, needs_answer))
        terminal.line(concat("each evaluation of the task generates ", counted(data.size(), "answer"), " of up to ",
                             counted(task.max_answer_tokens, "token"), "; --metrics none skips them"));
    if (task.has(Metric::choice_likelihood_accuracy)) check_options_fit(data, reader, config);
    return task;
}

void allow_for_task(BatchLimits& limits, const Task& task, const Dataset& data, const ExampleReader& reader,
                    const ModelConfig& config) {
    if (task.answers())
        for (size_t i = 0; i < data.examples.size(); ++i)
            allow_for_text(limits, config,
                           std::ssize(question_of(data.examples[i], data.texts[i]).prompt) + task.max_answer_tokens);
    if (task.has(Metric::choice_likelihood_accuracy))
        for (size_t i = 0; i < data.examples.size(); ++i) {
            const OptionExamples options = options_of(data, i, reader, task.batch_size);
            limits.include(batch_limits(options.examples, options.batches));
        }
    if (task.has(Metric::word_perplexity))
        limits.include({task.window.length, task.window.length, task.window.length, 1});
}

void check_predictions_file(const std::string& path) {
    if (path.empty()) return;
    const std::filesystem::path folder = std::filesystem::path(path).parent_path();
    require(folder.empty() || std::filesystem::is_directory(folder), "--predictions ", path, ": the folder ",
            folder.string(), " does not exist; make it first");
    require(!std::filesystem::is_directory(path), "--predictions ", path, ": is a folder; name a file");
}

}  // namespace quaff
