// The paper's quick start: load, find outlier channels, quantise, add LoRA, train. Here it uses the library of this
// project and times a step of every method, side by side.
//
//   build/quick_start [--steps N] [model directory] [data file] [outlier file]
//
// The defaults are 7 steps and the demo's files. For each method it prints the three times that the published
// quick_start.py takes of one step: forward, backward (with the optimiser) and both; each is the median of N steps
// after two to warm up. Beside them: how many times faster than `fp`, the planned memory, its share of `fp`'s, and the
// loss of the last step.
#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "llmc/core/median.h"
#include "llmc/data/examples.h"
#include "llmc/data/sampler.h"
#include "llmc/system/thread_waiting.h"
#include "llmc/tokenizer/tokenizer.h"
#include "quaff/quaff.h"
#include "quaff/run/method_settings.h"

namespace {

using namespace llmc;

constexpr int kBatchSize = 16, kWarmup = 2;

struct Arguments {
    int steps = 7;
    std::string model = "dev/demo/model", data = "dev/demo/train.jsonl", outliers;
};

struct Timing {
    double forward = 0, backward = 0, all = 0;  // seconds
    int64_t bytes = 0;
    double loss = 0;
};

double seconds() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Timing time_training_step(const quaff::ModelFiles& checkpoint, const quaff::OutlierChannels& channels,
                          const Batch& batch, quaff::Method method, int steps) {
    quaff::BuildOptions options;
    options.method = method;
    options.max_tokens = batch.n_tokens();
    options.max_sequence_length = batch.max_sequence_length();
    options.max_labelled = batch.n_labelled();
    auto model = quaff::build_quantized_model(checkpoint, channels, options);

    std::vector<double> forward, backward, all;
    double loss = 0;
    for (int step = 1; step <= kWarmup + steps; step++) {
        model->zero_gradients();
        const double start = seconds();
        model->forward(batch, 1.0f / static_cast<float>(batch.n_labelled()), step);
        const quaff::LossSums sums = model->losses();
        const double forward_done = seconds();
        model->backward(batch);
        model->step(AdamWOptions{}, step, 1.0f);
        const double done = seconds();
        loss = sums.loss / static_cast<double>(sums.labelled);
        if (step <= kWarmup) continue;
        forward.push_back(forward_done - start);
        backward.push_back(done - forward_done);
        all.push_back(done - start);
    }
    return {median(forward), median(backward), median(all), model->plan().total(), loss};
}

void print(const char* method, const Timing& t, const Timing& fp) {
    std::printf("%-15s %9.2f %9.2f %9.2f %8.2fx %12s %6.2f %9.4f\n", method, 1e3 * t.forward, 1e3 * t.backward,
                1e3 * t.all, fp.all / t.all, format_bytes(t.bytes).c_str(),
                static_cast<double>(t.bytes) / static_cast<double>(fp.bytes), t.loss);
}

void quick_start(const Arguments& arguments) {
    const quaff::ModelFiles checkpoint(arguments.model);
    const auto tokenizer = Tokenizer::load(arguments.model);
    TextEncoding encoding;
    encoding.encode = [&](std::string_view text) { return tokenizer->encode(text); };
    encoding.bos_id = tokenizer->bos_id().value_or(-1);
    encoding.eos_id = tokenizer->eos_id().value_or(-1);
    encoding.adds_bos = tokenizer->adds_bos();
    const Dataset data = read_examples(arguments.data, encoding, {});

    std::vector<Batch> batches;
    for (const std::vector<int64_t>& indices : sequential_batches(data.examples, kBatchSize)) {
        batches.push_back(pack(data.examples, indices));
        if (batches.size() == 8) break;
    }
    const auto channels_of = [&](quaff::Method method) {
        if (!quaff::linear_method(method).outliers) return quaff::OutlierChannels();
        if (!arguments.outliers.empty() && method != quaff::Method::smooth_static)
            return quaff::read_outlier_channels(arguments.outliers, checkpoint.config());
        const quaff::OutlierOptions how = quaff::outlier_options({}, method);
        quaff::CalibrationOptions options;
        options.strategy = how.strategy;
        options.threshold = how.threshold;
        options.max_ratio = quaff::MaxRatio(how.max_ratio);
        return quaff::calibrate(cpu::Device{}, checkpoint, batches, options);
    };

    const Batch& batch = batches[0];
    std::printf("%s: %lld sequences, %lld tokens, LoRA r = 16 on every linear, %d threads; median of %d steps\n",
                checkpoint.name().c_str(), static_cast<long long>(batch.n_sequences()),
                static_cast<long long>(batch.n_tokens()), cpu::Device{}.threads, arguments.steps);
    std::printf("%-15s %9s %9s %9s %9s %12s %6s %9s\n", "method", "forward", "backward", "all ms", "than fp", "memory",
                "of fp", "loss");
    const Timing fp = time_training_step(checkpoint, {}, batch, quaff::Method::fp, arguments.steps);
    print("fp", fp, fp);
    for (const auto& [name, method] : quaff::kMethodNames)
        if (method != quaff::Method::fp)
            print(name, time_training_step(checkpoint, channels_of(method), batch, method, arguments.steps), fp);
}

}  // namespace

int main(int argc, char** argv) {
    restart_with_passive_waiting(argv);
    Arguments arguments;
    CLI::App app("Times a training step of every method: the paper's quick start.");
    app.add_option("--steps", arguments.steps, "steps to take the median of")->check(CLI::Range(1, 1000000));
    app.add_option("model", arguments.model, "Hugging Face model directory");
    app.add_option("data", arguments.data, "examples");
    app.add_option("outliers", arguments.outliers, "outlier file; the channels are found on the examples without one");
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? 0 : 2;  // 0: --help
    }
    try {
        quick_start(arguments);
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "quick_start: %s\n", error.what());
        return 1;
    }
}
