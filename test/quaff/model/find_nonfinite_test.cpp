// An evaluation whose loss is not finite says where the first such value stood, for models that were never to train.
#include <cmath>
#include <limits>

#include "quaff/quaff.h"
#include "test/catch.h"
#include "test/files.h"
#include "test/quaff/tiny_model.h"

using namespace quaff;

namespace {

const Batch kBatch = {.input_ids = {1, 4, 7, 2, 9},
                      .positions = {0, 1, 2, 0, 1},
                      .cu_seqlens = {0, 3, 5},
                      .label_rows = {0, 1, 3},
                      .label_ids = {4, 7, 9},
                      .examples = {0, 1}};

OutlierChannels first_channels(const ModelConfig& config) {
    OutlierChannels outliers;
    for (const JointLinear& joint : all_joint_linears(config)) {
        outliers.channels[joint.name] = {0, 3};
        outliers.max_abs[joint.name] = {1, 2};
    }
    return outliers;
}

std::unique_ptr<Model<cpu::Device>> build(const test::TempDir& folder, Method method, bool adapters) {
    const ModelFiles checkpoint(folder.path());
    BuildOptions options;
    options.method = method;
    options.training = false;
    options.adapters = adapters;
    options.max_tokens = kBatch.n_tokens();
    options.max_sequence_length = kBatch.max_sequence_length();
    options.max_labelled = kBatch.n_labelled();
    cpu::Device device;
    device.threads = 1;
    return build_quantized_model(checkpoint, first_channels(checkpoint.config()), options, device);
}

// What is found in a model whose weights of these names are all `value`, which stands for a damaged file.
std::string found_in(Method method, const std::vector<std::string>& names, float value) {
    const test::TempDir folder;
    test::write_tiny_model(folder);
    test::change_weights(folder / "model.safetensors", [&](const std::string& name, Matrix<float> weight) {
        for (const std::string& part : names)
            if (name.find(part) != name.npos) std::fill_n(weight.data, weight.size(), value);
    });
    const auto model = build(folder, method, false);
    CHECK(std::isfinite(model->evaluate(kBatch).loss) == names.empty());
    return model->find_nonfinite(kBatch);
}

}  // namespace

TEST_CASE("an evaluation that is not finite names the first place of its forward pass", "[find_nonfinite]") {
    const Method method = GENERATE(Method::fp, Method::quaff);
    CHECK(found_in(method, {}, 0) == "");
    // silu(gate) up of two numbers near 1e38
    CHECK(found_in(method, {"layers.0.mlp.gate_proj", "layers.0.mlp.up_proj"}, 1e38f) ==
          "the output of model.layers.0");
    CHECK(found_in(method, {"layers.1.mlp.gate_proj", "layers.1.mlp.up_proj"}, 1e38f) ==
          "the output of model.layers.1");
    // h of some 1e30, times as much
    CHECK(found_in(method, {"model.norm", "lm_head"}, 1e30f) == "the logits");
}

TEST_CASE("an evaluation that is not finite names adapters and scales before what they spoil", "[find_nonfinite]") {
    const test::TempDir folder;
    test::write_tiny_model(folder);
    const auto model = build(folder, Method::quaff, true);
    CHECK(model->find_nonfinite(kBatch) == "");

    const std::vector<LayerScales> scales = model->scales();
    std::vector<LayerScales> bad_scales = scales;
    bad_scales[6].s[1] = std::numeric_limits<float>::quiet_NaN();
    model->set_scales(bad_scales);
    CHECK(model->find_nonfinite(kBatch) == "the scale of model.layers.1.mlp.gate_up_proj");
    model->set_scales(scales);

    const LoraAdapter last = model->adapters().back();
    std::vector<float> parameters = model->read(model->parameters());
    parameters[static_cast<size_t>(last.b.data - model->parameters().data())] = INFINITY;
    model->write(model->parameters(), parameters);
    CHECK_FALSE(std::isfinite(model->evaluate(kBatch).loss));
    CHECK(model->find_nonfinite(kBatch) == "the lora_B of model.layers.1.mlp.down_proj");
}
