// The paper's quick start: load, find outlier channels, quantise, add LoRA, train one step. Here it uses the library
// of this project, and is timed, for full precision and for Quaff.
//
//   build/quick_start [model directory] [data file] [outlier file]
//
// The defaults are the demo's. Prints forward, backward and optimiser time of a step (median of several after a
// warm-up) for both methods, their ratio, and the planned memory of each.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "llmc/data/examples.h"
#include "llmc/data/sampler.h"
#include "llmc/system/thread_waiting.h"
#include "llmc/tokenizer/tokenizer.h"
#include "quaff/quaff.h"

namespace {

using namespace llmc;

constexpr int kBatchSize = 16, kWarmup = 2, kSteps = 7;

struct Timing {
    double forward = 0, backward = 0, optimizer = 0, loss = 0;
    int64_t bytes = 0;
    double total() const { return forward + backward + optimizer; }
};

double seconds() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double median(std::vector<double> values) {
    std::ranges::sort(values);
    return values[values.size() / 2];
}

Timing time_training_step(const quaff::ModelFiles& checkpoint, const quaff::OutlierChannels& channels,
                          const Batch& batch, quaff::Method method) {
    quaff::BuildOptions options;
    options.method = method;
    options.max_tokens = batch.n_tokens();
    options.max_sequence_length = batch.max_sequence_length();
    options.max_labelled = batch.n_labelled();
    auto model = quaff::build_quantized_model(checkpoint, channels, options);

    std::vector<double> forward, backward, optimizer;
    double loss = 0;
    for (int step = 1; step <= kWarmup + kSteps; step++) {
        model->zero_gradients();
        const double start = seconds();
        model->forward(batch, 1.0f / static_cast<float>(batch.n_labelled()), step);
        const quaff::LossSums sums = model->losses();
        const double forward_done = seconds();
        model->backward(batch);
        const double backward_done = seconds();
        model->step(AdamWOptions{}, step, 1.0f);
        const double done = seconds();
        loss = sums.loss / static_cast<double>(sums.labelled);
        if (step <= kWarmup) continue;
        forward.push_back(forward_done - start);
        backward.push_back(backward_done - forward_done);
        optimizer.push_back(done - backward_done);
    }
    return {median(forward), median(backward), median(optimizer), loss, model->plan().total()};
}

void print(const char* label, const Timing& t) {
    std::printf("%-8s %9.2f %9.2f %9.2f %9.2f %12s %10.4f\n", label, 1e3 * t.forward, 1e3 * t.backward,
                1e3 * t.optimizer, 1e3 * t.total(), format_bytes(t.bytes).c_str(), t.loss);
}

void quick_start(const std::string& model_directory, const std::string& data_file, const std::string& outlier_file) {
    const quaff::ModelFiles checkpoint(model_directory);
    const auto tokenizer = Tokenizer::load(model_directory);
    TextEncoding encoding;
    encoding.encode = [&](std::string_view text) { return tokenizer->encode(text); };
    encoding.bos_id = tokenizer->bos_id().value_or(-1);
    encoding.eos_id = tokenizer->eos_id().value_or(-1);
    encoding.adds_bos = tokenizer->adds_bos();
    const Dataset data = read_examples(data_file, encoding, {});

    std::vector<Batch> batches;
    for (const std::vector<int64_t>& indices : sequential_batches(data.examples, kBatchSize)) {
        batches.push_back(pack(data.examples, indices));
        if (batches.size() == 8) break;
    }
    const quaff::OutlierChannels channels = outlier_file.empty()
                                                ? quaff::calibrate(cpu::Device{}, checkpoint, batches, {})
                                                : quaff::read_outlier_channels(outlier_file, checkpoint.config());

    const Batch& batch = batches[0];
    std::printf("%s: %lld sequences, %lld tokens, LoRA r = 16 on every linear, %d threads\n", checkpoint.name().c_str(),
                static_cast<long long>(batch.n_sequences()), static_cast<long long>(batch.n_tokens()),
                cpu::Device{}.threads);
    std::printf("%-8s %9s %9s %9s %9s %12s %10s\n", "method", "forward", "backward", "step", "total ms", "memory",
                "loss");
    const Timing fp = time_training_step(checkpoint, {}, batch, quaff::Method::fp);
    print("fp", fp);
    const Timing quaff = time_training_step(checkpoint, channels, batch, quaff::Method::quaff);
    print("quaff", quaff);
    std::printf("%-8s %8.2fx %8.2fx %8.2fx %8.2fx %11.2fx\n", "ratio", fp.forward / quaff.forward,
                fp.backward / quaff.backward, fp.optimizer / quaff.optimizer, fp.total() / quaff.total(),
                static_cast<double>(fp.bytes) / static_cast<double>(quaff.bytes));
}

}  // namespace

int main(int argc, char** argv) {
    restart_with_passive_waiting(argv);
    const auto argument = [&](int i, const char* fallback) { return std::string(i < argc ? argv[i] : fallback); };
    try {
        quick_start(argument(1, "dev/demo/model"), argument(2, "dev/demo/train.jsonl"), argument(3, ""));
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "quick_start: %s\n", error.what());
        return 1;
    }
}
