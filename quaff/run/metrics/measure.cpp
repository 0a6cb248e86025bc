#include "quaff/run/metrics/measure.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "llmc/core/error.h"
#include "llmc/core/integers.h"
#include "llmc/io/file_io.h"
#include "llmc/metrics/choice.h"
#include "llmc/metrics/numeric.h"
#include "llmc/metrics/rouge.h"
#include "llmc/metrics/words.h"
#include "quaff/model/devices.h"
#include "quaff/run/evaluate.h"
#include "quaff/run/metrics/answers.h"

namespace quaff {
namespace {

using nlohmann::ordered_json;

// What the metrics of one example need, and the one that compares them.
template <class Device>
class ExampleMeter {
  public:
    ExampleMeter(Model<Device>& model, const Task& task, const Dataset& data, const ExampleReader& reader,
                 std::span<const int64_t> is_exact, const std::function<void()>& before_pass)
        : model_(model),
          task_(task),
          data_(data),
          reader_(reader),
          encoding_(reader.encoding()),
          is_exact_(is_exact),
          before_pass_(before_pass) {}

    struct Measured {
        std::vector<MetricValue> values;  // one for each of the task's metrics
        ordered_json line;                // null unless predictions are wanted
    };

    Measured measure(size_t position) {
        const Example& example = data_.examples[position];
        const SourceTarget& text = data_.texts[position];
        const std::span<const int32_t> prompt = question_of(example, text).prompt;
        const bool is_asked = has_prompt(example, text);
        std::optional<std::string> prediction;
        if (is_asked && task_.answers()) {
            before_pass_();
            prediction = answer(model_, prompt, task_.max_answer_tokens, reader_);
        }
        const std::string target = target_of(example, text);
        Measured measured;
        for (const Metric metric : task_.metrics)
            measured.values.push_back(value_of(metric, position, prediction.value_or(""), target));
        if (task_.predictions.empty()) return measured;
        measured.line = {{"prompt", is_asked ? text_of(prompt) : ""},
                         {"prediction", prediction ? ordered_json(*prediction) : ordered_json()},
                         {"target", target}};
        for (const MetricValue& value : measured.values) measured.line[value.name()] = value.value();
        return measured;
    }

  private:
    std::string text_of(std::span<const int32_t> ids) const {
        if (!ids.empty() && ids.front() == encoding_.bos_id) ids = ids.subspan(1);
        return reader_.tokenizer() ? reader_.tokenizer()->decode(ids, /*skip_special=*/false) : "";
    }

    std::string target_of(const Example& example, const SourceTarget& text) const {
        if (!text.target.empty() || !reader_.tokenizer()) return text.target;
        return reader_.tokenizer()->decode(question_of(example, text).answer, /*skip_special=*/true);
    }

    MetricValue value_of(Metric metric, size_t position, const std::string& prediction, const std::string& target) {
        const Choices& choices = data_.texts[position].choices;
        const auto share = [metric](double value) { return MetricValue{metric, value, 1}; };
        switch (metric) {
            case Metric::exact_match:
                return share(static_cast<double>(is_exact_[position]));
            case Metric::choice_accuracy:
                return share(answer_choice(prediction, choices.options.size()) == choices.right ? 1 : 0);
            case Metric::choice_likelihood_accuracy:
                return share(likeliest_option(position) == choices.right ? 1 : 0);
            case Metric::numeric_accuracy: {
                const std::optional<std::string> number = answer_number(prediction);
                return share(number && number == answer_number(target) ? 1 : 0);
            }
            case Metric::rouge_l:
                return share(rouge_l(prediction, target));
            case Metric::word_perplexity:
                break;
        }
        const double log_probability = text_log_probability(model_, target, encoding_, task_.window, before_pass_);
        require(std::isfinite(log_probability), data_.place(static_cast<int64_t>(position)),
                ": the probability of its text is not finite; the weights of the model or of its adapter are too "
                "large or damaged");
        return {metric, -log_probability, count_words(target)};
    }

    size_t likeliest_option(size_t position) {
        before_pass_();
        const SourceTarget& text = data_.texts[position];
        const std::vector<double> likelihoods = option_likelihoods(
            model_, question_of(data_.examples[position], text).prompt, text.choices, encoding_, task_.batch_size);
        return static_cast<size_t>(std::ranges::max_element(likelihoods) - likelihoods.begin());
    }

    Model<Device>& model_;
    const Task& task_;
    const Dataset& data_;
    const ExampleReader& reader_;
    const TextEncoding encoding_;
    const std::span<const int64_t> is_exact_;
    const std::function<void()>& before_pass_;
};

// The texts of all ranks on the first one, however long they are.
std::vector<std::string> gather_in_pieces(Comm& comm, const std::string& mine) {
    constexpr size_t kPiece = size_t{1} << 20;  // bytes; Comm::gather() takes short texts
    auto rounds = static_cast<float>(ceil_div(mine.size(), kPiece));
    comm.max(std::span(&rounds, 1));
    std::vector<std::string> all(comm.is_first() ? static_cast<size_t>(comm.size()) : 0);
    for (size_t round = 0; round < static_cast<size_t>(rounds); ++round) {
        const std::vector<std::string> pieces = comm.gather(mine.substr(std::min(round * kPiece, mine.size()), kPiece));
        for (size_t rank = 0; rank < all.size(); ++rank) all[rank] += pieces[rank];
    }
    return all;
}

// The lines of all ranks in the order of the examples, which were dealt out in turn.
std::string in_order(const std::vector<std::string>& of_ranks, int64_t count) {
    std::vector<size_t> at(of_ranks.size(), 0);
    std::string lines;
    for (int64_t i = 0; i < count; ++i) {
        const auto rank = static_cast<size_t>(i) % of_ranks.size();
        const size_t end = of_ranks[rank].find('\n', at[rank]) + 1;
        lines.append(of_ranks[rank], at[rank], end - at[rank]);
        at[rank] = end;
    }
    return lines;
}

// All examples but the later pieces of a text, which is measured as a whole where it begins.
std::vector<size_t> measured_positions(const Dataset& data) {
    std::vector<size_t> positions;
    for (size_t i = 0; i < data.texts.size(); ++i)
        if (!data.texts[i].continues) positions.push_back(i);
    return positions;
}

void sum_over_ranks(Comm& comm, std::vector<MetricValue>& values) {
    for (MetricValue& value : values) {
        comm.sum(std::span(&value.sum, 1));
        comm.sum(std::span(&value.count, 1));
    }
}

}  // namespace

template <class Device>
TaskResult measure(Model<Device>& model, const Task& task, const Dataset& data, const ExampleReader& reader,
                   std::span<const int64_t> is_exact, const std::function<void(int64_t, int64_t)>& progress) {
    Comm& comm = model.comm();
    const bool wanted = !task.predictions.empty() ||
                        !std::ranges::all_of(task.metrics, [](Metric metric) { return metric == Metric::exact_match; });
    const std::vector<size_t> positions = wanted ? measured_positions(data) : std::vector<size_t>();
    int64_t done = 0;
    const std::function<void()> before_pass = [&] { progress(done, std::ssize(positions)); };
    ExampleMeter<Device> meter(model, task, data, reader, is_exact, before_pass);
    TaskResult result;
    for (const Metric metric : task.metrics) result.values.push_back({metric});
    std::string lines;
    for (; done < std::ssize(positions); ++done) {
        if (!is_mine(comm, done)) continue;
        const auto measured = meter.measure(positions[static_cast<size_t>(done)]);
        for (size_t i = 0; i < result.values.size(); ++i) {
            result.values[i].sum += measured.values[i].sum;
            result.values[i].count += measured.values[i].count;
        }
        if (!task.predictions.empty())
            lines += measured.line.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
    }
    std::erase_if(result.values, [](const MetricValue& value) { return value.metric == Metric::exact_match; });
    sum_over_ranks(comm, result.values);
    if (task.predictions.empty()) return result;
    const std::vector<std::string> gathered = gather_in_pieces(comm, lines);
    if (comm.is_first()) result.predictions = in_order(gathered, std::ssize(positions));
    return result;
}

template <class Device>
Evaluation evaluate_task(Model<Device>& model, const Dataset& data, const std::vector<std::vector<int64_t>>& batches,
                         const Task& task, const ExampleReader& reader, const Progress& progress,
                         Model<Device>* reference) {
    Evaluation evaluation = evaluate(
        model, data, batches, task.has(Metric::exact_match),
        [&](int64_t done, int64_t total) { progress("evaluating", done, total); }, reference);
    TaskResult measured = measure(model, task, data, reader, evaluation.is_exact,
                                  [&](int64_t done, int64_t total) { progress("measuring", done, total); });
    evaluation.task = std::move(measured.values);
    if (!task.predictions.empty() && model.comm().is_first())
        write_file_atomically(task.predictions, measured.predictions);
    return evaluation;
}

#define INSTANTIATE(Device)                                                                                     \
    template TaskResult measure(Model<Device>&, const Task&, const Dataset&, const ExampleReader&,              \
                                std::span<const int64_t>, const std::function<void(int64_t, int64_t)>&);        \
    template Evaluation evaluate_task(Model<Device>&, const Dataset&, const std::vector<std::vector<int64_t>>&, \
                                      const Task&, const ExampleReader&, const Progress&, Model<Device>*);
QUAFF_FOR_EACH_DEVICE(INSTANTIATE)

}  // namespace quaff
