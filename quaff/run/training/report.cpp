#include "quaff/run/training/report.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "llmc/core/bytes.h"
#include "llmc/core/error.h"
#include "llmc/io/file_io.h"
#include "llmc/system/memory_limits.h"
#include "quaff/run/report/page.h"
#include "quaff/run/training/best_checkpoint.h"
#include "quaff/run/training/step.h"

namespace quaff {
namespace {

using nlohmann::ordered_json;

constexpr double kVisible = 5e-5;  // a smaller increase of the loss does not show in the summary
constexpr double kSpike = 6;       // standard deviations above the trailing window that are flagged

constexpr size_t kAnswerWidth = 66;  // bytes of an answer in the summary

// How a method keeps the weights, in a word.
const char* words_for(Method method) {
    const LinearMethod linear = linear_method(method);
    if (linear.weight == WeightKind::four_bits) return "4-bit";
    return linear.int8 ? "int8" : "full-precision";
}

std::string one_line(std::string text, size_t width) {
    std::replace(text.begin(), text.end(), '\n', ' ');
    if (text.size() <= width) return text;
    size_t end = width;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;  // between two characters
    return text.substr(0, end) + "...";
}

}  // namespace

std::string step_line(int64_t step, int64_t total_steps, const StepFigures& figures, double seconds_left, int columns) {
    const auto four_digits = [](double value) {  // and zeros kept: a column of them is read from top to bottom
        return format(value < 10 ? "%.3f" : value < 100 ? "%.2f" : value < 1000 ? "%.1f" : "%.0f", value);
    };
    const double rate = static_cast<double>(figures.tokens) / figures.seconds;
    const std::string count = concat("step ", step, "/", total_steps), exact_rate = format_count(std::llround(rate));
    const std::string short_rate = rate < 9999.5    ? exact_rate
                                   : rate < 999'500 ? format("%.0fk", rate / 1e3)
                                                    : format("%.1fM", rate / 1e6);
    const std::string loss = figures.loss < 10 ? format("%.4f", figures.loss) : four_digits(figures.loss);
    const std::string grad_norm = four_digits(figures.grad_norm), left = format_duration(seconds_left);
    const std::string learning_rate = format("%.1e", figures.learning_rate);
    const std::string sol = format("%.0f%% SOL", 100 * figures.speed_of_light);

    const std::string whole =
        concat(count, "  loss ", loss, "  grad norm ", grad_norm, "  lr ", learning_rate, "  ", exact_rate,
               " tokens/s  ", sol, "  ", format_bytes(figures.peak_memory), "  ETA ", left);
    const std::string without_memory = concat(count, "  loss ", loss, "  grad ", grad_norm, "  lr ", learning_rate,
                                              "  ", exact_rate, " tok/s  ", sol, "  ", left);
    const auto fits = [&](const std::string& text) {
        return columns == 0 || text.size() < static_cast<size_t>(columns);  // the last column stays free
    };
    if (fits(whole)) return whole;
    if (fits(without_memory)) return without_memory;
    return concat(count, " loss ", loss, " grad ", grad_norm, " lr ", learning_rate, " ", short_rate, " tok/s ", sol,
                  " ", left);
}

std::string rise_warning(const ordered_json& before, const Evaluation& after, int64_t steps, double epoch) {
    const double increase = loss_increase(before, after);
    if (increase <= kVisible) return "";
    // Before the first epoch is over, no example has been seen twice: none is learnt by heart.
    return concat(
        format("the loss on the evaluation examples rose from %.4f to %.4f in ", after.loss() - increase, after.loss()),
        counted(steps, "step"), ". Lower --learning-rate, or train ",
        epoch <= 1 ? "longer" : "for fewer steps if the loss on the training examples fell");
}

std::optional<Answer> first_answer(const Dataset& data, const ordered_json& before, const ordered_json& after) {
    if (after.empty()) return {};
    return Answer{data.texts.front(), before.empty() ? "" : before.front().get<std::string>(), after.front()};
}

std::string why_unusable(const ordered_json& before, const ordered_json& after, double last_training_loss,
                         int64_t vocab_size) {
    constexpr double kClearly = 1;  // nats
    const auto loss_of = [](const ordered_json& evaluation) {
        const bool is_known = evaluation.is_object() && evaluation.contains("loss") && evaluation["loss"].is_number();
        return is_known ? evaluation["loss"].get<double>() : NAN;
    };
    const double guessing = std::log(static_cast<double>(vocab_size)), bound = guessing + kClearly;
    const bool is_unusable =
        loss_of(after) > bound && last_training_loss > bound && !(loss_of(after) <= loss_of(before) + kClearly);
    if (!is_unusable) return "";
    return concat(format("the run has no usable result: the loss is %.4f after training and was %.4f in its last step, "
                         "and a model that guesses has %.4f. ",
                         loss_of(after), last_training_loss, guessing),
                  kLowerLearningRate);
}

void RunReport::open_log(const JsonLog::Keep& keep) {
    log_.emplace((std::filesystem::path(options_.out) / "log.jsonl").string(), keep);
}

// A run does not fail for its log: lines that cannot be written wait.
void RunReport::log(const ordered_json& line) {
    if (!log_) return;
    const std::string problem = log_->write(line);
    if (!problem.empty() && !log_waits_)
        terminal_.warn(problem + ". Training continues; the missing lines follow as soon as they can be written");
    if (problem.empty() && log_waits_) terminal_.warn("the log is complete again");
    log_waits_ = !problem.empty();
}

void RunReport::step(int64_t step, int64_t total_steps, const StepFigures& figures, double seconds_left) {
    const double tokens_per_second = static_cast<double>(figures.tokens) / figures.seconds;
    ordered_json line = {{"step", step},
                         {"epoch", figures.epoch},
                         {"loss", figures.loss},
                         {"grad_norm", figures.grad_norm},
                         {"learning_rate", figures.learning_rate},
                         {"tokens", figures.tokens},
                         {"labelled_tokens", figures.labelled},
                         {"step_seconds", figures.seconds},
                         {"tokens_per_second", tokens_per_second},
                         {"sol", figures.speed_of_light},
                         {"peak_memory_bytes", figures.peak_memory},
                         {"planned_memory_bytes", figures.planned_memory}};
    if (figures.ranks > 1) {
        line["ranks"] = figures.ranks;
        line["communication_seconds"] = figures.communication.seconds;
        line["communication_bytes"] = figures.communication.bytes;
    }
    if (figures.loss_scale > 1 || figures.skipped > 0) {
        line["loss_scale"] = figures.loss_scale;
        line["skipped_steps"] = figures.skipped;
    }
    const std::chrono::duration<double> now = std::chrono::steady_clock::now().time_since_epoch();
    if (pace_.is_due(step, total_steps, now.count()))
        terminal_.line(step_line(step, total_steps, figures, seconds_left, terminal_.columns()));
    if (!std::isfinite(figures.grad_norm)) {
        line["grad_norm"] = nullptr;  // JSON has no infinity
        terminal_.warn(concat("step ", step, "/", total_steps,
                              ": skipped: its gradient overflows fp16 at a loss scale of ", figures.loss_scale,
                              "; the next step halves the scale"));
    }
    const std::string explosion = exploding_.update(figures.grad_norm);
    const bool vanished = !figures.warning.empty();
    if (const std::string& warning = vanished ? figures.warning : explosion; !warning.empty()) {
        line["warning"] = warning;
        const std::string sentence = concat("step ", step, ": ", warning);
        if (troubles_.add(vanished ? "vanished" : "exploding", sentence)) terminal_.warn(sentence);
    }
    const auto flag = [&](const char* key, double z) {
        if (!(z > kSpike)) return;
        line[key] = z;
        n_spikes_++;
    };
    flag("loss_zscore", loss_spikes_.update(figures.loss));
    if (std::isfinite(figures.grad_norm)) flag("grad_norm_zscore", grad_norm_spikes_.update(figures.grad_norm));
    log(line);
    live_ = {
        step,        total_steps, figures.epoch, smoothed_.update(figures.loss), tokens_per_second, figures.peak_memory,
        seconds_left};
    show_live_line("");
}

void RunReport::show_live_line(const std::string& more) {
    if (!terminal_.live()) return;
    const int columns = terminal_.columns() - static_cast<int>(more.size());
    terminal_.status(live_line(live_, std::max(columns, 1)) + more);
}

void RunReport::micro_batch(int64_t step, int64_t total_steps, int64_t done, int64_t count) {
    if (count == 1) return;  // the step's own line follows
    const std::string counts = concat("micro-batch ", done, "/", count);
    if (live_.step > 0)
        show_live_line("  " + counts);
    else  // no figures yet
        terminal_.status(concat("step ", step, "/", total_steps, "  ", counts));
}

void RunReport::trouble(int64_t step, const std::string& kind, const std::string& sentence) {
    if (sentence.empty()) return;
    troubles_.add(kind, sentence);
    log({{"step", step}, {"warning", sentence}});
}

void RunReport::refreshed(int64_t step, int64_t channels) {
    log({{"step", step}, {"replaced_outlier_channels", channels}});
}

void RunReport::evaluation(int64_t step, const std::string& when, const Evaluation& evaluation,
                           const std::string& warning, int64_t best_step) {
    ordered_json line = {{"step", step},
                         {"eval_loss", evaluation.loss()},
                         {"eval_perplexity", evaluation.perplexity()},
                         {"eval_token_accuracy", evaluation.token_accuracy()},
                         {"eval_labelled_tokens", evaluation.labelled}};
    if (evaluation.exact) line["eval_exact_match"] = evaluation.exact_match();
    for (const MetricValue& value : evaluation.task) line[concat("eval_", value.name())] = value.value();
    if (best_step >= 0) line["best_step"] = best_step;
    if (!warning.empty()) {
        line["warning"] = warning;
    }
    log(line);
    terminal_.line(concat("evaluation ", when, ": ", in_words(evaluation)));
    // Between steps the loss may still fall again. After training it is the result: a kind of its own.
    const char* kind = when.starts_with("at step") ? "worse on the way" : "worse";
    if (!warning.empty() && troubles_.add(kind, concat("evaluation ", when, ": ", warning))) terminal_.warn(warning);
    write_page();
}

// Nor does it fail for its page.
void RunReport::write_page() {
    if (!log_) return;
    try {
        const std::filesystem::path out = options_.out;
        if (page_log_)
            page_log_->read_on();
        else
            page_log_.emplace(out);
        write_file_atomically(out / kPageName, report_page({&*page_log_}));
        page_failed_ = false;
    } catch (const std::exception& error) {
        if (!page_failed_) terminal_.warn(concat(error.what(), "; training continues without a new ", kPageName));
        page_failed_ = true;
    }
}

// The model's figures before and after training, side by side.
void RunReport::show_figures(const ordered_json& result, Method method) {
    const ordered_json &before = result["eval_before"], &after = result["eval_after"];
    if (!after.is_object()) return;
    terminal_.line(concat("figures of the ", words_for(method), " model that was trained (--method ", name_of(method),
                          ")", before.is_object() ? ", before -> after training:" : ", after training:"));
    const auto row = [&](const std::string& name, const char* key, double factor, const char* unit) {
        if (!after.contains(key) || (before.is_object() && !before.contains(key))) return;
        // JSON has no infinity: the perplexity of a model that knows nothing may be null.
        const auto figure = [&](const ordered_json& of) {
            return of[key].is_number() ? format("%10.4f%s", factor * of[key].get<double>(), unit) : "         -";
        };
        terminal_.result(format("%-15s", name.c_str()) + (before.is_object() ? figure(before) + "  -> " : "") +
                         figure(after));
    };
    row("loss", "loss", 1, "");
    row("perplexity", "perplexity", 1, "");
    row("token accuracy", "token_accuracy", 100, "%");
    for (const Named<Metric>& metric : kMetricNames) {
        const bool share = MetricValue{metric.value}.is_share();
        row(title_of(metric.value), metric.name, share ? 100 : 1, share ? "%" : "");
    }
}

void RunReport::show_memory(const ordered_json& result) {
    const auto steps = result["steps"].get<int64_t>(), planned = result["planned_memory_bytes"].get<int64_t>(),
               peak = result["peak_memory_bytes"].get<int64_t>();
    const auto tokens_per_second = result["tokens_per_second"].get<double>();
    const std::string difference =
        peak > planned ? concat(", ", format_bytes(peak - planned), " more: program, libraries, data and loading") : "";
    terminal_.result(concat(counted(steps, "step"),
                            tokens_per_second > 0 ? format(", %.0f tokens/s", tokens_per_second)
                            : steps == 1          ? ", taken before: there was nothing left to do"
                                                  : ", all taken before: there was nothing left to do",
                            ", peak memory ", format_bytes(peak), " (planned ", format_bytes(planned), difference,
                            ")"));
}

void RunReport::summary(const ordered_json& result, const std::optional<Answer>& answer, Method method) {
    write_page();
    terminal_.line("");
    if (answer) {
        terminal_.result("prompt    \"" + one_line(answer->text.source, kAnswerWidth) + "\"");
        terminal_.result("  true    " + one_line(answer->text.target, kAnswerWidth));
        if (!answer->before.empty()) terminal_.result("  before  " + one_line(answer->before, kAnswerWidth));
        terminal_.result("  after   " + one_line(answer->after, kAnswerWidth));
    }
    show_figures(result, method);
    show_memory(result);
    if (const std::string best = best_in_words(result); !best.empty()) terminal_.result(best);
    if (n_spikes_ > 0)
        terminal_.line(concat(counted(n_spikes_, "spike"), " of loss or gradient norm, flagged in log.jsonl"));
    for (const std::string& sentence : troubles_.sentences()) terminal_.warn(sentence);
    const std::string adapter = result["adapter"],
                      with = concat("--model ", options_.model.name(), " --adapter ", adapter);
    terminal_.result(concat("the adapter is in ", adapter, terminal_.is_quiet() ? "" : "; next:"));
    terminal_.unbroken_line("  ./train_quaff generate " + with + " --prompt \"...\"");
    terminal_.unbroken_line("  ./train_quaff eval " + with + " --data FILE");
    if (method != Method::fp)
        terminal_.unbroken_line("  ./train_quaff eval --method fp " + with + " --data FILE   # in full precision");
    terminal_.unbroken_line("  ./train_quaff merge " + with + " --out DIR");
}

}  // namespace quaff
