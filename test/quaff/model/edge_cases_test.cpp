// Data, outlier channels and ranks at the edge of what there is, which all train, and numbers that overflow, which end
// the run before anything of them is saved.
#include <cmath>

#include "llmc/core/error.h"
#include "llmc/io/json.h"
#include "quaff/files/checkpoint_folder.h"
#include "quaff/files/outliers.h"
#include "quaff/run/memory_room.h"
#include "quaff/run/open_model.h"
#include "test/catch.h"
#include "test/files.h"
#include "test/quaff/tiny_model.h"
#include "test/quaff/workshop.h"

using namespace quaff;

namespace {

void change_weights(const Workshop& shop, const test::ChangeWeight& change) {
    test::change_weights(shop.folder / "model" / "model.safetensors", change);
}

// Trains on the data and evaluates on the same: the loss falls, every number on the way is one.
void check_trains(const Workshop& shop, const std::vector<std::string>& more = {}) {
    std::vector<std::string> all = {"--max-steps",  "20", "--eval-data",  (shop.folder / "train.jsonl").string(),
                                    "--eval-steps", "0",  "--save-steps", "10"};
    all.insert(all.end(), more.begin(), more.end());
    const auto result = shop.run("run", all);
    CHECK(result["eval_after"]["loss"].get<double>() < result["eval_before"]["loss"].get<double>());
    for (const auto& line : shop.log("run")) CHECK((line.contains("eval_loss") || line["grad_norm"].is_number()));
    for (const llmc::SafetensorsFile file(shop.folder / "run" / "adapter" / "adapter_model.safetensors");
         const auto& [name, tensor] : file.tensors()) {
        std::vector<float> values(static_cast<size_t>(tensor.size()));
        file.read(name, values);
        CHECK(std::ranges::all_of(values, [](float value) { return std::isfinite(value); }));
    }
}

std::string outlier_file(const Workshop& shop, const std::map<std::string, std::vector<int>>& of_module) {
    nlohmann::json channels;
    for (int layer = 0; layer < small::kLayers; ++layer)
        for (const std::string module : {"self_attn.qkv_proj", "self_attn.o_proj", "mlp.gate_up_proj", "mlp.down_proj"})
            channels["model.layers." + std::to_string(layer) + "." + module] =
                of_module.contains(module) ? of_module.at(module) : std::vector<int>{};
    const fs::path path = shop.folder / "outliers.json";
    small::write_text(path, nlohmann::json{{"model", "small"}, {"strategy", "top_abs"}, {"channels", channels}}.dump());
    return path;
}

}  // namespace

TEST_CASE("outlier channels that are dead keep a scale of one and train", "[edge]") {
    const Workshop shop("dead_channel");
    // Channel 5 of the MLP is always zero, and no output of down_proj looks at it; channel 6 is not, and none does.
    change_weights(shop, [](const std::string& name, Matrix<float> weight) {
        if (name.ends_with("gate_proj.weight")) std::fill_n(weight.row(5), weight.cols, 0.0f);
        if (name.ends_with("down_proj.weight"))
            for (int64_t o = 0; o < weight.rows; ++o) weight(o, 5) = weight(o, 6) = 0;
    });
    check_trains(shop, {"--outliers", outlier_file(shop, {{"mlp.down_proj", {4, 5, 6, 7}}}), "--target-modules",
                        "q_proj,v_proj,down_proj"});
    const auto state = llmc::read_json(shop.folder / "run" / "adapter" / "quaff.json");
    for (const char* layer : {"model.layers.0.mlp.down_proj", "model.layers.1.mlp.down_proj"}) {
        const std::vector<double> s = state["scales"][layer];
        REQUIRE(s.size() == 4);
        CHECK(s[1] == 1);
        CHECK(s[2] == 1);
    }
}

TEST_CASE("rows of zeros train", "[edge]") {
    const Workshop shop("zero_row");
    // Token 7 has an embedding of zeros, and one output of every linear has no weight.
    change_weights(shop, [](const std::string& name, Matrix<float> weight) {
        if (name == "model.embed_tokens.weight") std::fill_n(weight.row(7), weight.cols, 0.0f);
        if (name.ends_with("proj.weight")) std::fill_n(weight.row(3), weight.cols, 0.0f);
    });
    small::write_text(shop.folder / "train.jsonl", R"({"input_ids": [7, 7, 7, 9]})"
                                                   "\n"
                                                   R"({"input_ids": [7, 4, 7, 5, 6]})"
                                                   "\n");
    for (const std::string method : {"quaff", "fp"}) check_trains(shop, {"--method", method});
}

TEST_CASE("a sequence of one token is left out, and one of two trains", "[edge]") {
    const Workshop shop("one_token");
    small::write_text(shop.folder / "train.jsonl", "{\"input_ids\": [5]}\n{\"input_ids\": [5, 6]}\n");
    check_trains(shop, {"--batch-size", "1"});
}

TEST_CASE("sequences of one token among others change nothing", "[edge]") {
    const Workshop shop("one_token_packed");
    std::FILE* sink = std::fopen("/dev/null", "w");
    Terminal terminal(sink, true);
    for (const std::string method : {"quaff", "fp"}) {
        // 16-bit gradients and no outlier channels: no maximum, of the batch or of a row, that the rest depends on.
        const Options options =
            shop.options("run", {"--method", method, "--outliers", outlier_file(shop, {}), "--lora-dropout", "0"});
        const ModelFiles files = open_model(options, terminal);
        cpu::Device device;
        device.threads = 1;
        const StartingPoint start = starting_point(options, files, "", terminal);
        const Example single{{5}, {kIgnoreLabel}}, longer{{1, 2, 3}, {kIgnoreLabel, 2, 3}};
        const std::vector<const Example*> both = {&single, &longer, &single}, one = {&longer};
        const auto loss_of = [&](const std::vector<const Example*>& examples) {
            const Batch batch = pack(examples);
            BatchLimits limits;
            limits.max_tokens = 16;
            limits.max_sequence_length = 8;
            limits.max_labelled = 8;
            const auto model = build_model(files, device, start,
                                           build_options(options, start, limits, true, device.available_memory()));
            model->zero_gradients();
            model->forward(batch, 1, 0);
            model->backward(batch);
            CHECK(std::isfinite(model->gradient_norm()));
            CHECK(model->gradient_norm() > 0);
            return model->losses().loss;
        };
        CHECK(loss_of(both) == Approx(loss_of(one)).epsilon(1e-6));  // a GEMM may treat its last rows apart
    }
    std::fclose(sink);
}

TEST_CASE("an example whose only label is its last token trains", "[edge]") {
    const Workshop shop("last_label");
    std::string lines;
    for (int i = 0; i < 6; ++i)
        lines += "{\"input_ids\": [3, 4, 5, " + std::to_string(10 + i) + "], \"labels\": [-100, -100, -100, " +
                 std::to_string(10 + i) + "]}\n";
    small::write_text(shop.folder / "train.jsonl", lines);
    check_trains(shop);
}

TEST_CASE("no outlier channel at all, and every channel one, train", "[edge]") {
    const Workshop shop("channels");
    SECTION("none, by an empty list") {
        check_trains(shop, {"--outliers", outlier_file(shop, {})});
    }
    SECTION("as many as there are") {
        shop.run("calibrated", {"--max-steps", "1", "--outlier-max-ratio", "1", "--outlier-strategy", "top_abs"});
        const std::string all = shop.folder / "calibrated" / "outliers.json";
        const nlohmann::json written = llmc::read_json(all);
        for (const auto& [module, channels] : written["channels"].items())
            CHECK(static_cast<int>(channels.size()) ==
                  (module.ends_with("down_proj") ? small::kIntermediate : small::kHidden));
        check_trains(shop, {"--outliers", all});
    }
}

TEST_CASE("a budget's channels take no more memory than the same ratio's, and are told", "[edge][budget]") {
    const Workshop shop("budget");
    const auto channels_with = [&](const std::string& ratio, const std::string& budget) {
        shop.run(ratio, {"--max-steps", "1", "--outlier-max-ratio", ratio, "--outlier-budget", budget});
        return llmc::read_json(shop.folder / ratio / "outliers.json");
    };
    const nlohmann::json bought = channels_with("0.02", "25%"), uniform = channels_with("0.25", "");
    CHECK(bought["max_ratio"].get<std::string>().starts_with("qkv_proj="));
    const auto memory = [&](const nlohmann::json& outliers) {
        const ModelFiles checkpoint(shop.folder / "model");
        size_t values = 0;
        for (const JointLinear& joint : all_joint_linears(checkpoint.config()))
            values += outliers["channels"][joint.name].size() * static_cast<size_t>(joint.out_features());
        return values;
    };
    CHECK(memory(bought) > 0);
    CHECK(memory(bought) <= memory(uniform));
}

TEST_CASE("ranks of 1 and of 256, more than the layers are wide, train", "[edge]") {
    const Workshop shop("ranks");
    for (const std::string r : {"1", "256"}) {
        const Workshop of_rank("rank_" + r);
        std::vector<std::string> more = {"--lora-alpha", r, "--method", GENERATE("quaff", "fp")};
        Workshop changed = of_rank;
        std::ranges::replace(changed.common, std::string("4"), r);  // --lora-r
        check_trains(changed, more);
    }
}

TEST_CASE("a loss that is no number ends the run with step, layer and checkpoint", "[edge]") {
    const Workshop shop("overflow");
    const auto complaint = [&](const std::string& learning_rate) {
        Workshop changed = shop;
        std::ranges::replace(changed.common, std::string("0.01"), learning_rate);
        return test::error_of([&] {
            changed.run("run", {"--max-steps", "5", "--save-steps", "1", "--max-grad-norm", "0", "--eval-split", "0"});
        });
    };
    const auto says = [](const std::string& text, const std::string& part) { return text.find(part) != text.npos; };

    // Products of such adapters pass fp32: the step after the update has a loss that is none.
    const std::string later = complaint("1e30");
    INFO(later);
    CHECK(later.starts_with("step 2: the loss is "));
    CHECK(says(later, "model.layers.0"));
    CHECK(says(later, "the last good checkpoint is " + (shop.folder / "run" / "checkpoint-1").string()));
    CHECK(list_checkpoints(shop.folder / "run").size() == 1);
    CHECK(find_damage(shop.folder / "run" / "checkpoint-1").empty());

    // The adapters themselves pass it: what is to be saved is looked at first.
    const std::string at_once = complaint("1e39");
    INFO(at_once);
    CHECK(at_once.starts_with("step 1: the lora_"));
    CHECK(says(at_once, "of model.layers.0.self_attn.q_proj is not finite, and nothing of it is saved"));
    CHECK(says(at_once, "there is no checkpoint yet"));
    CHECK(list_checkpoints(shop.folder / "run").empty());
    CHECK_FALSE(fs::exists(shop.folder / "run" / "adapter"));
}
