// What a program can do through quaff/quaff.h alone: find outlier channels, train a step, save the adapter, go on with
// it.
#include "quaff/quaff.h"
#include "test/catch.h"
#include "test/files.h"
#include "test/quaff/tiny_model.h"

using namespace quaff;

TEST_CASE("through quaff.h a program trains an adapter and saves it, and it reads back", "[library]") {
    const Method method = GENERATE(Method::fp, Method::quaff);
    const test::TempDir folder;
    test::write_tiny_model(folder);
    const ModelFiles checkpoint(folder.path());
    const Batch batch = {.input_ids = {1, 4, 7, 2, 9},
                         .positions = {0, 1, 2, 0, 1},
                         .cu_seqlens = {0, 3, 5},
                         .label_rows = {0, 1, 3},
                         .label_ids = {4, 7, 9},
                         .examples = {0, 1}};
    OutlierChannels channels;
    if (method == Method::quaff) {
        CalibrationOptions calibration;
        calibration.max_ratio = MaxRatio("0.5");
        channels = calibrate(cpu::Device{}, checkpoint, {&batch, 1}, calibration);
    }
    BuildOptions options;
    options.method = method;
    options.lora.r = 2;
    options.lora.lora_alpha = 5;
    options.lora.target_modules = {"q_proj", "down_proj"};
    options.max_tokens = batch.n_tokens();
    options.max_sequence_length = batch.max_sequence_length();
    options.max_labelled = batch.n_labelled();
    const auto model = build_quantized_model(checkpoint, channels, options);
    const double before = model->evaluate(batch).loss;

    model->zero_gradients();
    model->forward(batch, 1.0f / static_cast<float>(batch.n_labelled()), 0);
    model->backward(batch);
    AdamWOptions adamw;
    adamw.learning_rate = 0.01;
    model->step(adamw, 1, 1.0f);
    const double after = model->evaluate(batch).loss;
    CHECK(after < before);
    save_adapter(folder / "adapter", *model, "somebody/tiny", channels);

    const Adapter saved(folder / "adapter", checkpoint.config());
    CHECK(saved.config().r == 2);
    CHECK(saved.config().lora_alpha == 5);
    CHECK(saved.config().lora_dropout == 0.1);  // not 0.1f
    CHECK(saved.config().base_model == "somebody/tiny");
    CHECK(saved.config().target_modules.list() == options.lora.target_modules.list());
    const std::optional<QuaffState> state = read_quaff_state(folder / "adapter", checkpoint.config());
    REQUIRE(state.has_value());
    CHECK(state->method == name_of(method));
    CHECK(state->scale_momentum == 0.1);
    CHECK(state->outliers.has_value() == (method == Method::quaff));

    const auto again = build_quantized_model(checkpoint, channels, options);
    load_adapter(*again, saved);
    load_scales(*again, state->scales);
    CHECK(again->evaluate(batch).loss == after);
}
