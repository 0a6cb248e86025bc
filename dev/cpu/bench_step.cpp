// A training step on the CPU, part by part: the methods side by side.
//
//   make build/dev/cpu/bench_step build/random_model
//   build/random_model dev/configs/tinyllama /tmp/tinyllama
//   build/dev/cpu/bench_step /tmp/tinyllama [--sequences 1] [--tokens 512] [--rounds 5] [--threads N] [--json]
//                                           [--lora-r 16] [--outlier-max-ratio 0.02] [--methods quaff quaff-bf16]
//
// A micro-batch of `sequences` of `tokens` random ids, all labelled; adapters on every linear, dropout 0.1, as many
// outlier channels as the ratio allows. A method's name may end in -split (--outlier-term split), and in -bf16 (--dtype
// bf16) or -mixed (bf16 in the backward pass alone, as --dtype auto has it where it can); quaff-paper is quaff without
// the rotation. Each method runs in its own process, so that its peak memory is its own; the methods take their steps
// in turn, so that other load on the machine affects all alike. Figures are medians over the rounds after a warm-up.
// The parts' seconds are CPU time of all threads, which other programs do not lengthen. % SOL is the time that the
// step's operations take at the measured peaks over the time it took (quaff/run/speed_of_light.h).
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "dev/cpu/timed_device.h"
#include "llmc/core/median.h"
#include "llmc/core/philox.h"
#include "llmc/cpu/peak.h"
#include "llmc/system/memory_limits.h"
#include "llmc/system/thread_waiting.h"
#include "quaff/model/model_definitions.h"
#include "quaff/run/speed_of_light.h"
#include "quaff/run/starting_point.h"

namespace {

using namespace llmc;
using nlohmann::json;
using timed::Device, timed::Profile, timed::Time;

struct Options {
    std::string model;
    int64_t sequences = 1, tokens = 512;
    int rounds = 5, threads = 0, lora_r = 16;
    std::string outlier_max_ratio = "0.02";
    std::vector<std::string> methods = {"fp", "quaff"};
    bool json = false;
};

Batch random_batch(const Options& options, int64_t vocab_size) {
    std::vector<Example> examples(static_cast<size_t>(options.sequences));
    std::vector<const Example*> pointers;
    for (size_t s = 0; s < examples.size(); s++) {
        for (uint32_t n = 0; n < options.tokens; n++) {
            const uint32_t word = philox4x32_10({n, static_cast<uint32_t>(s), 0, 0}, {1, 0}).x0;
            examples[s].input_ids.push_back(static_cast<int32_t>(word % static_cast<uint64_t>(vocab_size)));
        }
        examples[s].labels = examples[s].input_ids;
        pointers.push_back(&examples[s]);
    }
    return pack(pointers);
}

// Whether the name had the ending, which it then has no more.
bool take_ending(std::string& name, const std::string& ending) {
    if (!name.ends_with(ending)) return false;
    name.resize(name.size() - ending.size());
    return true;
}

// One method's model in this process.
class Bench {
  public:
    // method: as --methods has it.
    Bench(const Options& options, const std::string& method)
        : name_(method), checkpoint_(options.model), batch_(random_batch(options, checkpoint_.config().vocab_size)) {
        if (options.threads > 0) device_.threads = options.threads;
        device_.profile = &profile_;
        device_.vocab_size = checkpoint_.config().vocab_size;
        std::string base = method;
        if (take_ending(base, "-mixed")) device_.bf16_gradients = true;
        if (take_ending(base, "-bf16")) device_.products = cpu::Products::bf16;
        if (take_ending(base, "-split")) build_.outlier_term = quaff::OutlierTerm::split;
        const auto known = quaff::parse_method(base);
        require(known.has_value(), "there is no method ", method);
        build_.method = *known;
        build_.lora.lora_dropout = 0.1;
        build_.lora.r = options.lora_r;
        build_.max_tokens = batch_.n_tokens();
        build_.max_sequence_length = options.tokens;
        build_.max_labelled = batch_.n_labelled();
        if (build_.linear().outliers)
            channels_ = quaff::most_outlier_channels(
                checkpoint_.config(), *known == quaff::Method::smooth_static ? "1" : options.outlier_max_ratio);
        if (*known == quaff::Method::smooth_static)  // any maxima do for a timing
            for (const auto& [module, channels] : channels_.channels)
                channels_.max_abs[module].assign(channels.size(), 1.0f);
        model_ = std::make_unique<quaff::Model<Device>>(device_, checkpoint_, channels_, build_);
    }

    void step() {
        profile_.clear();
        const Time begin = timed::now();
        model_->zero_gradients();
        model_->forward(batch_, 1.0f / static_cast<float>(batch_.n_labelled()), static_cast<uint64_t>(steps_));
        const Time forward = timed::now();
        model_->backward(batch_);
        const Time backward = timed::now();
        model_->gradient_norm();
        model_->step(AdamWOptions{}, ++steps_, 1.0f);
        const Time end = timed::now();
        if (steps_ == 1) return;  // the first step loads code and touches pages
        forward_.push_back((forward - begin).wall);
        backward_.push_back((backward - forward).wall);
        optimiser_.push_back((end - backward).wall);
        step_.push_back((end - begin).wall);
        Time parts;
        for (const auto& [heading, time] : profile_) {
            cpu_[heading].push_back(time.cpu);
            parts += time;
        }
        cpu_["everything else"].push_back((end - begin).cpu - parts.cpu);
    }

    json result() const {
        const Peak peak = cpu::measure_peak(device_);
        const quaff::WorkModel work_model(checkpoint_.config(), build_, channels_, model_->n_recomputed());
        const quaff::Work work = work_model.of(batch_);
        json parts = json::object();
        for (const auto& [heading, seconds] : cpu_) parts[heading] = median(seconds);
        return {{"method", name_},
                {"tokens", batch_.n_tokens()},
                {"threads", device_.threads},
                {"forward_seconds", median(forward_)},
                {"backward_seconds", median(backward_)},
                {"optimiser_seconds", median(optimiser_)},
                {"step_seconds", median(step_)},
                {"fastest_step_seconds", *std::ranges::min_element(step_)},
                {"tokens_per_second", static_cast<double>(batch_.n_tokens()) / median(step_)},
                {"floor_seconds", work.seconds_at(peak)},
                {"sol", work.seconds_at(peak) / median(step_)},
                {"int8_peak", peak.int8_operations},
                {"float_peak", peak.float_operations},
                {"planned_bytes", model_->plan().total()},
                {"peak_bytes", peak_resident_memory()},
                {"cpu_seconds", parts}};
    }

  private:
    std::string name_;
    quaff::ModelFiles checkpoint_;
    Batch batch_;
    Device device_;
    Profile profile_;
    quaff::BuildOptions build_;
    quaff::OutlierChannels channels_;
    std::unique_ptr<quaff::Model<Device>> model_;
    int64_t steps_ = 0;
    std::vector<double> forward_, backward_, optimiser_, step_;
    std::map<std::string, std::vector<double>> cpu_;
};

// A Bench in a child process, told what to do by one byte: 's' for a step, 'e' for the result and the end.
class Child {
  public:
    Child(const Options& options, const std::string& method) {
        int orders[2], answers[2];
        require(pipe(orders) == 0 && pipe(answers) == 0, "no pipe to a child process");
        pid_ = fork();
        require(pid_ >= 0, "no child process");
        if (pid_ == 0) {
            close(orders[1]);
            close(answers[0]);
            serve(options, method, orders[0], fdopen(answers[1], "w"));
        }
        close(orders[0]);
        close(answers[1]);
        orders_ = orders[1];
        answers_ = fdopen(answers[0], "r");
    }
    ~Child() {
        std::fclose(answers_);
        close(orders_);
        waitpid(pid_, nullptr, 0);
    }
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;

    std::string ask(char order) const {
        require(write(orders_, &order, 1) == 1, "a child process has gone");
        char* line = nullptr;
        size_t size = 0;
        const bool answered = getline(&line, &size, answers_) > 0;
        const std::string answer = answered ? line : "";
        std::free(line);
        require(answered, "a child process has failed; what it said is above");
        return answer;
    }

  private:
    [[noreturn]] static void serve(const Options& options, const std::string& method, int orders, std::FILE* answers) {
        try {
            Bench bench(options, method);
            char order = 0;
            while (read(orders, &order, 1) == 1 && order == 's') {
                bench.step();
                std::fputs("done\n", answers);
                std::fflush(answers);
            }
            if (order == 'e') std::fprintf(answers, "%s\n", bench.result().dump().c_str());
            std::fflush(answers);
        } catch (const std::exception& error) {
            std::fprintf(stderr, "bench_step: %s\n", error.what());
        }
        _exit(0);
    }

    pid_t pid_;
    int orders_;
    std::FILE* answers_;
};

void print_table(const std::vector<json>& results) {
    const auto row = [&](const std::string& name, const auto& text) {
        std::printf("%-28s", name.c_str());
        for (const json& result : results) std::printf(" %18s", text(result).c_str());
        std::printf("\n");
    };
    const auto number = [](const char* format, double value) {
        char text[64];
        std::snprintf(text, sizeof text, format, value);
        return std::string(text);
    };
    row("", [](const json& r) { return r["method"].get<std::string>(); });
    for (const char* name : {"forward_seconds", "backward_seconds", "optimiser_seconds", "step_seconds"})
        row(name, [&](const json& r) { return number("%.3f", r[name]); });
    row("tokens a second", [&](const json& r) { return number("%.1f", r["tokens_per_second"]); });
    row("% SOL", [&](const json& r) { return number("%.1f", 100 * r["sol"].get<double>()); });
    row("peak of floats, GFLOP/s", [&](const json& r) { return number("%.0f", 1e-9 * r["float_peak"].get<double>()); });
    row("peak of int8, GOP/s", [&](const json& r) { return number("%.0f", 1e-9 * r["int8_peak"].get<double>()); });
    row("memory at most", [](const json& r) { return format_bytes(r["peak_bytes"]); });
    row("memory planned", [](const json& r) { return format_bytes(r["planned_bytes"]); });
    std::printf("\nseconds of all threads together, and their share of the step\n");
    std::map<std::string, double> headings;
    for (const json& result : results)
        for (const auto& [heading, seconds] : result["cpu_seconds"].items())
            headings[heading] = std::max(headings[heading], seconds.get<double>());
    std::vector<std::pair<double, std::string>> order;
    for (const auto& [heading, seconds] : headings) order.emplace_back(-seconds, heading);
    std::ranges::sort(order);
    for (const auto& [seconds, heading] : order) {
        row(heading, [&](const json& r) {
            if (!r["cpu_seconds"].contains(heading)) return std::string("-");
            double total = 0;
            for (const auto& part : r["cpu_seconds"]) total += part.get<double>();
            const double part = r["cpu_seconds"][heading];
            return number("%.3f", part) + number(" %5.1f%%", 100 * part / total);
        });
    }
}

void run(const Options& options) {
    std::vector<std::unique_ptr<Child>> children;
    for (const std::string& name : options.methods) children.push_back(std::make_unique<Child>(options, name));
    for (int round = 0; round <= options.rounds; round++)
        for (const auto& child : children) child->ask('s');
    std::vector<json> results;
    for (const auto& child : children) results.push_back(json::parse(child->ask('e')));
    if (options.json) {
        for (const json& result : results) std::printf("%s\n", result.dump().c_str());
        return;
    }
    std::printf("%s, %lld x %lld tokens, %d threads\n\n", options.model.c_str(),
                static_cast<long long>(options.sequences), static_cast<long long>(options.tokens),
                results.back()["threads"].get<int>());
    print_table(results);
}

}  // namespace

int main(int argc, char** argv) {
    restart_with_passive_waiting(argv);
    Options options;
    CLI::App app("Times a training step on the CPU, part by part, in full precision and by quaff.");
    app.add_option("model", options.model, "Hugging Face directory (build/random_model writes one of any shape)")
        ->required();
    app.add_option("--sequences", options.sequences, "sequences of the micro-batch")->check(CLI::PositiveNumber);
    app.add_option("--tokens", options.tokens, "tokens of each")->check(CLI::PositiveNumber);
    app.add_option("--rounds", options.rounds, "steps of each method, after one that warms up")
        ->check(CLI::PositiveNumber);
    app.add_option("--threads", options.threads, "all if it is not given")->check(CLI::PositiveNumber);
    app.add_option("--lora-r", options.lora_r, "rank of the adapters")->check(CLI::PositiveNumber);
    app.add_option("--outlier-max-ratio", options.outlier_max_ratio, "share of outlier channels");
    app.add_option("--methods", options.methods, "those that take turns: fp, quaff, quaff-split-bf16, ..");
    app.add_flag("--json", options.json, "one JSON object a line");
    CLI11_PARSE(app, argc, argv);
    try {
        run(options);
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "bench_step: %s\n", error.what());
        return 1;
    }
}
