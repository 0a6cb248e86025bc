#include "quaff/run/speed_of_light.h"

#include "llmc/cpu/peak.h"
#include "test/catch.h"

using namespace quaff;

namespace {

// One layer, C = 8, F = 12, two heads of 4 and one key/value head, V = 10.
ModelConfig one_layer() {
    ModelConfig config;
    config.vocab_size = 10;
    config.hidden_size = 8;
    config.intermediate_size = 12;
    config.num_hidden_layers = 1;
    config.num_attention_heads = 2;
    config.num_key_value_heads = 1;
    config.head_dim = 4;
    config.layers.resize(1);
    return config;
}

Batch three_and_two() {
    Batch batch;
    batch.input_ids = {1, 2, 3, 4, 5};
    batch.cu_seqlens = {0, 3, 5};
    batch.label_rows = {1, 3};
    batch.label_ids = {3, 5};
    return batch;
}

}  // namespace

TEST_CASE("the work of a step is counted as its equations say", "[sol]") {
    BuildOptions options;
    options.lora.r = 2;
    options.lora.target_modules = {"o_proj"};
    OutlierChannels outliers;
    outliers.channels["model.layers.0.mlp.down_proj"] = {1, 5, 7};
    constexpr double kQkv = 16 * 8, kO = 8 * 8, kGateUp = 24 * 8, kDown = 8 * 12;
    constexpr double kWeights = kQkv + kO + kGateUp + kDown;
    constexpr double kTokens = 5, kPairs = 6 + 3, kLabels = 2;
    constexpr double kAdapter = 2 * 2 * (8 + 8), kOutliers = 2 * 3 * 8;
    // Below o_proj, the only layer that is trained, nothing asks for a gradient: not qkv_proj, not attention.
    constexpr double kHead = kLabels * 2 * 10 * 8;
    constexpr double kForward = kTokens * (kAdapter + kOutliers) + kPairs * 4 * 8 + kHead;
    constexpr double kGradients = kTokens * 2 * kAdapter + kHead;
    constexpr double kBackward = kGateUp + kDown;

    const Work quaff = WorkModel(one_layer(), options, outliers, 0).of(three_and_two());
    CHECK(quaff.int8_operations == kTokens * 2 * (kWeights + kBackward));
    CHECK(quaff.float_operations == kForward);
    CHECK(quaff.gradient_operations == kGradients);

    const Work recomputed = WorkModel(one_layer(), options, outliers, 1).of(three_and_two());
    CHECK(recomputed.int8_operations - quaff.int8_operations == kTokens * 2 * kWeights);
    CHECK(recomputed.float_operations - quaff.float_operations == kPairs * 4 * 8);
    CHECK(recomputed.gradient_operations == kGradients);

    options.grad_bits = 16;
    const Work grad16 = WorkModel(one_layer(), options, outliers, 0).of(three_and_two());
    CHECK(grad16.int8_operations == kTokens * 2 * kWeights);
    CHECK(grad16.float_operations == kForward + kGradients + kTokens * 2 * kBackward);
    CHECK(grad16.gradient_operations == 0);

    options.method = Method::fp;
    const Work full = WorkModel(one_layer(), options, outliers, 0).of(three_and_two());
    CHECK(full.int8_operations == 0);
    CHECK(full.float_operations == kForward - kTokens * kOutliers + kGradients + kTokens * 2 * (kWeights + kBackward));
    CHECK(full.gradient_operations == 0);
}

TEST_CASE("a sliding window bounds the pairs of tokens", "[sol]") {
    ModelConfig config = one_layer();
    const auto pairs = [&](int64_t window) {
        config.layers[0].sliding_window = window;
        Batch batch;
        batch.input_ids.resize(5);
        batch.cu_seqlens = {0, 5};
        BuildOptions options;
        options.lora.r = 0;  // all layers are trained, by adapters that cost nothing
        const Work work = WorkModel(config, options, {}, 0).of(batch);
        CHECK(work.gradient_operations == 2.5 * work.float_operations);
        return work.float_operations / (4 * 8);
    };
    CHECK(pairs(0) == 15);
    CHECK(pairs(2) == 1 + 2 + 2 + 2 + 2);
    CHECK(pairs(9) == 15);
}

TEST_CASE("the measured peaks are those of a processor", "[sol]") {
    cpu::Device device;
    device.threads = 1;
    const Peak peak = cpu::measure_peak(device);
    // From a slow core without vector units to more than any core has.
    CHECK(peak.float_operations > 1e8);
    CHECK(peak.float_operations < 1e13);
    CHECK(peak.gradient_operations == peak.float_operations);
    CHECK(peak.int8_operations > 1e8);
    CHECK(peak.int8_operations < 1e14);
}

TEST_CASE("every kind of work takes its time at its own peak", "[sol]") {
    const Work work = {8, 6, 3};
    CHECK(work.seconds_at({4, 2, 1}) == 2 + 3 + 3);
    CHECK(work.seconds_at({4, 2, 0}) == 0);
}
