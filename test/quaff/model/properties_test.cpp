// What must hold for any model and any data, whatever the numbers are.
//
// The quantised properties that compare passes summing in different orders use the golden batch on which no value lies
// near a rounding boundary (golden_quaff_test.cpp), for otherwise one ulp could become one int8 step.
#include <cstring>
#include <map>
#include <numeric>
#include <random>

#include "llmc/cpu/operators.h"
#include "test/catch.h"
#include "test/quaff/golden.h"
#include "test/quaff/single_linear.h"

using namespace golden;

namespace {

// A tiny golden model and one of its packed batches.
struct Setup {
    explicit Setup(Method method, const std::string& name = "llama_gqa")
        : path(directory(name)),
          numbers(read_json(path / "golden.json")),
          checkpoint(path / "model"),
          batches(make_batches(numbers["batches"])),
          options(build_options(numbers, method)) {
        if (method == Method::quaff)
            outliers = quaff::read_outlier_channels(path / "outlier" / "token_max.json", checkpoint.config());
    }

    std::unique_ptr<Model> build(int threads = 1) const {
        cpu::Device device;
        device.threads = threads;
        return build(device);
    }
    std::unique_ptr<Model> build(const cpu::Device& device) const {
        auto model = quaff::build_quantized_model(checkpoint, outliers, options, device);
        if (options.adapters) load_adapter(*model, path / "adapter");
        return model;
    }

    std::filesystem::path path;
    json numbers;
    ModelFiles checkpoint;
    std::vector<Batch> batches;
    BuildOptions options;
    quaff::OutlierChannels outliers;
};

// The batch on which quantisation is safe from rounding either way, with the scales that calibration gives.
json safe_batch(const std::string& name) {
    return read_json(directory(name) / "quaff.json")["exact"]["evaluate_first"][0];
}

// Losses of the labelled rows, sequence by sequence, keyed by the sequence's place in the file.
std::map<int64_t, std::vector<float>> losses_by_sequence(Model& model, const Batch& batch) {
    const quaff::LossSums sums = model.evaluate(batch);
    std::map<int64_t, std::vector<float>> losses;
    for (size_t i = 0; i < batch.label_rows.size(); i++) {
        const auto end = std::ranges::upper_bound(batch.cu_seqlens, batch.label_rows[i]);
        losses[batch.examples[end - batch.cu_seqlens.begin() - 1]].push_back(sums.losses[i]);
    }
    return losses;
}

std::vector<float> copy(std::span<const float> values) {
    return {values.begin(), values.end()};
}

bool same_bits(std::span<const float> a, std::span<const float> b) {
    return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size_bytes()) == 0);
}

struct Trained {
    std::vector<double> losses;
    std::vector<float> gradients;  // of the last step
    std::vector<float> parameters;
    std::vector<float> scales;
};

Trained train(Model& model, const Setup& setup, int64_t steps) {
    Trained result;
    const AdamWOptions adamw = adamw_options(setup.numbers);
    for (int64_t step = 0; step < steps; step++) {
        const Batch& batch = setup.batches[static_cast<size_t>(step) % setup.batches.size()];
        result.losses.push_back(train_step(model, batch, adamw, 0.3, step + 1).loss);
    }
    result.gradients = copy(model.gradients());
    result.parameters = copy(model.parameters());
    for (const quaff::LayerScales& layer : model.scales())
        result.scales.insert(result.scales.end(), layer.s.begin(), layer.s.end());
    return result;
}

void check_identical(const Trained& a, const Trained& b) {
    CHECK(a.losses == b.losses);
    CHECK(same_bits(a.gradients, b.gradients));
    CHECK(same_bits(a.parameters, b.parameters));
    CHECK(same_bits(a.scales, b.scales));
}

float round_half_even(float value) {
    return std::nearbyint(value);  // in the default rounding mode
}

}  // namespace

TEST_CASE("a layer without outlier channels is naive per-token int8", "[properties]") {
    const int64_t n = 7, in = 43, out = 29;
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    std::vector<float> x(n * in), w(out * in);
    for (float& value : x) value = normal(random);
    for (float& value : w) value = normal(random);
    std::fill_n(x.begin() + 3 * in, in, 0.0f);  // a token of zeros
    std::fill_n(w.begin() + 5 * in, in, 0.0f);  // an output of zeros

    SingleLinear one(in, out, n, Method::naive);
    auto& [device, arena, linear, workspace] = one;
    linear.weight.load_rows(device, 0, {w.data(), out, in});
    std::vector<float> y(n * out);
    quaff::PassInfo pass;
    pass.mode = quaff::Mode::train;
    linear.forward(device, {y.data(), n, out}, quaff::PlainInput<cpu::Device>{{x.data(), n, in}}, {}, pass, workspace);

    const auto scale_of = [&](const float* row) {
        float largest = 0;
        for (int64_t i = 0; i < in; i++) largest = std::max(largest, std::abs(row[i]));
        return largest == 0 ? 1.0f : largest / 127.0f;
    };
    double worst = 0;
    for (int64_t t = 0; t < n; t++) {
        for (int64_t o = 0; o < out; o++) {
            const float dx = scale_of(&x[t * in]), dw = scale_of(&w[o * in]);
            int64_t sum = 0;
            for (int64_t i = 0; i < in; i++)
                sum += static_cast<int64_t>(round_half_even(x[t * in + i] / dx) * round_half_even(w[o * in + i] / dw));
            const double expected = static_cast<double>(dx) * dw * static_cast<double>(sum);
            worst = std::max(worst, std::abs(y[t * out + o] - expected) / (1 + std::abs(expected)));
        }
    }
    CHECK(worst < 3e-7);  // the integers are exact; three fp32 roundings of the dequantisation
}

TEST_CASE("scales of one change nothing", "[properties]") {
    // Without adapters, so that no GEMM sums other terms next to the outliers' zeros.
    Setup setup(Method::quaff);
    setup.options.adapters = false;
    setup.options.training = false;
    const auto with_outliers = setup.build();
    const std::vector<float> scaled = with_outliers->logits(setup.batches[0]);
    std::vector<quaff::LayerScales> ones = with_outliers->scales();
    for (quaff::LayerScales& layer : ones) {
        REQUIRE_FALSE(layer.s.empty());
        std::ranges::fill(layer.s, 1.0f);
    }
    with_outliers->set_scales(ones);
    const std::vector<float> unscaled = with_outliers->logits(setup.batches[0]);

    for (auto& [module, channels] : setup.outliers.channels) channels.clear();
    setup.outliers.max_abs.clear();
    const std::vector<float> naive = setup.build()->logits(setup.batches[0]);
    CHECK(unscaled == naive);      // x + 0 is x
    CHECK_FALSE(scaled == naive);  // or the test says nothing
}

TEST_CASE("the order of the sequences in a batch does not matter, nor does what they are packed with", "[properties]") {
    for (const Method method : {Method::fp, Method::quaff}) {
        CAPTURE(name_of(method));
        const Setup setup(method);
        const auto model = setup.build();
        const json source = method == Method::fp ? setup.numbers["batches"][0] : safe_batch("llama_gqa");
        std::vector<size_t> order(source["cu_seqlens"].size() - 1);
        std::iota(order.begin(), order.end(), size_t{0});
        const auto expected = losses_by_sequence(*model, make_batch(source, order));

        std::ranges::reverse(order);
        const auto reversed = losses_by_sequence(*model, make_batch(source, order));
        for (size_t s : order) {
            CAPTURE(s);
            const int64_t index = static_cast<int64_t>(s);
            CHECK(distance(reversed.at(index), expected.at(index)) < 1e-5);  // a GEMM may treat its last rows apart
            const auto alone = losses_by_sequence(*model, make_batch(source, {s}));
            REQUIRE(alone.size() == 1);
            CHECK(distance(alone.at(index), expected.at(index)) < 1e-5);
        }
    }
}

// There is no padding: neither the size memory was planned for nor what an earlier, longer batch left there is seen.
TEST_CASE("what lies behind the tokens of a batch is never read", "[properties]") {
    for (const Method method : {Method::fp, Method::quaff}) {
        CAPTURE(name_of(method));
        Setup setup(method);
        setup.options.lora.lora_dropout = 0.2;
        const Batch& batch = setup.batches[1];
        setup.options.max_tokens = batch.n_tokens();
        setup.options.max_sequence_length = batch.max_sequence_length();
        setup.options.max_labelled = batch.n_labelled();
        const auto gradients_of = [&](Model& model) {
            model.zero_gradients();
            model.forward(batch, 1.0f, 5);
            model.backward(batch);
            return copy(model.gradients());
        };
        const std::vector<float> expected = gradients_of(*setup.build());

        setup.options.max_tokens = 3 * batch.n_tokens();
        setup.options.max_sequence_length = 2 * batch.max_sequence_length();
        setup.options.max_labelled = 100;
        const auto roomy = setup.build();
        REQUIRE(setup.batches[0].n_tokens() > batch.n_tokens());
        roomy->evaluate(setup.batches[0]);
        CHECK(same_bits(gradients_of(*roomy), expected));
    }
}

TEST_CASE("gradients accumulated over micro-batches are those of one batch", "[properties]") {
    for (const Method method : {Method::fp, Method::quaff}) {
        CAPTURE(name_of(method));
        Setup setup(method);
        setup.options.scale_momentum = 1;  // s stays where it is: the one thing that depends on the micro-batch
        // s is then that of the golden evaluation, whose batch is safe from rounding either way; 16-bit gradients
        // have none to do.
        setup.options.grad_bits = 16;
        const json source = method == Method::fp ? setup.numbers["batches"][0] : safe_batch("llama_gqa");
        const auto model = setup.build();
        const Batch whole = make_batch(source);
        const float grad_scale = 1.0f / static_cast<float>(whole.n_labelled());
        model->zero_gradients();
        model->forward(whole, grad_scale, 0);
        model->backward(whole);
        const double loss = model->losses().loss;
        const std::vector<float> expected = copy(model->gradients());

        model->zero_gradients();
        double accumulated = 0;
        for (size_t s = 0; s + 1 < whole.cu_seqlens.size(); s++) {
            const Batch part = make_batch(source, {s});
            model->forward(part, grad_scale, s);
            model->backward(part);
            accumulated += model->losses().loss;
        }
        CHECK(accumulated == Approx(loss).epsilon(1e-6));
        CHECK(distance(model->gradients(), expected) < 1e-5);  // sums over tokens in another order
    }
}

TEST_CASE("recomputing blocks gives the same bits", "[properties]") {
    for (const Method method : {Method::fp, Method::quaff}) {
        CAPTURE(name_of(method));
        Setup setup(method);
        setup.options.lora.lora_dropout = 0.2;
        setup.options.recompute = quaff::Recompute::none;
        const auto kept = setup.build();
        setup.options.recompute = quaff::Recompute::block;
        const auto recomputed = setup.build();
        REQUIRE(recomputed->n_recomputed() == setup.checkpoint.config().num_hidden_layers);
        REQUIRE(recomputed->plan().total(quaff::MemoryKind::activations) <
                kept->plan().total(quaff::MemoryKind::activations));
        check_identical(train(*recomputed, setup, 4), train(*kept, setup, 4));
    }
}

TEST_CASE("bf16 gradients are int8's alone, near those of fp32, after a forward pass in fp32", "[properties]") {
    for (const Method method : {Method::fp, Method::quaff}) {
        CAPTURE(name_of(method));
        const Setup setup(method);
        cpu::Device mixed = one_thread();
        mixed.bf16_gradients = true;
        const auto exact = setup.build(), rounded = setup.build(mixed);
        const Batch& batch = setup.batches[0];
        for (Model* model : {exact.get(), rounded.get()}) {
            model->zero_gradients();
            model->forward(batch, 1.0f / static_cast<float>(batch.n_labelled()), 0);
            model->backward(batch);
        }
        CHECK(rounded->losses().loss == exact->losses().loss);
        const double error = distance(copy(rounded->gradients()), copy(exact->gradients()));
        if (method == Method::fp) CHECK(error == 0);
        // Near a boundary of int8, a rounding becomes one of its steps, and int8's own error is a tenth, too.
        if (method == Method::quaff) CHECK((error > 1e-5 && error < 0.125));
    }
}

TEST_CASE("the same number of threads gives the same bits, another nearly so", "[properties]") {
    for (const Method method : {Method::fp, Method::quaff}) {
        CAPTURE(name_of(method));
        Setup setup(method);
        setup.options.lora.lora_dropout = 0.2;
        for (const int threads : {1, 2})
            check_identical(train(*setup.build(threads), setup, 2), train(*setup.build(threads), setup, 2));

        const json source = method == Method::fp ? setup.numbers["batches"][0] : safe_batch("llama_gqa");
        const Batch batch = make_batch(source);
        CHECK(distance(setup.build(1)->logits(batch), setup.build(2)->logits(batch)) < 1e-6);
        CHECK(setup.build(1)->evaluate(batch).loss == Approx(setup.build(2)->evaluate(batch).loss).epsilon(1e-6));
    }
}

TEST_CASE("training changes adapters and scales and nothing else", "[properties]") {
    for (const Method method : {Method::fp, Method::quaff}) {
        CAPTURE(name_of(method));
        const Setup setup(method);
        const auto model = setup.build();
        const auto scales_of = [&] {
            std::vector<std::vector<float>> all;
            for (const quaff::LayerScales& layer : model->scales()) all.push_back(layer.s);
            return all;
        };
        const std::vector<quaff::LayerScales> first = model->scales();
        const std::vector<float> logits = model->logits(setup.batches[0]);
        const std::vector<float> parameters = copy(model->parameters());
        const auto scales = scales_of();
        train(*model, setup, 5);
        REQUIRE_FALSE(same_bits(model->logits(setup.batches[0]), logits));
        if (method == Method::quaff) REQUIRE_FALSE(scales_of() == scales);

        std::ranges::copy(parameters, model->parameters().begin());
        model->set_scales(first);
        CHECK(same_bits(model->logits(setup.batches[0]), logits));
    }
}

TEST_CASE("evaluation leaves the model as it was", "[properties]") {
    Setup setup(Method::quaff);
    setup.options.lora.lora_dropout = 0.2;
    const auto disturbed = setup.build();
    disturbed->evaluate(setup.batches[0]);
    disturbed->logits(setup.batches[1]);
    check_identical(train(*disturbed, setup, 2), train(*setup.build(), setup, 2));
}
