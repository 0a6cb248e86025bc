#include "quaff/files/info.h"

#include "quaff/files/outliers.h"
#include "quaff/files/quaff_json.h"
#include "test/catch.h"
#include "test/files.h"
#include "test/quaff/tiny_model.h"

using namespace quaff;
using nlohmann::json;
using nlohmann::ordered_json;
using test::error_of;
using test::TempDir;
using test::write_tiny_adapter;
using test::write_tiny_model;
namespace fs = std::filesystem;

TEST_CASE("info tells what a path holds", "[info]") {
    const TempDir model, work;
    write_tiny_model(model, test::tiny_config(), "BF16");
    const ordered_json about_model = inspect(model.path());
    CHECK(about_model["kind"] == "model");
    CHECK(about_model["architecture"] == "llama");
    // 2 x 11 x 8 embedding and head, 5 x 8 norms, and per layer 2 x 8 x 8 (q, o) + 2 x 4 x 8 (k, v) + 3 x 8 x 12
    CHECK(about_model["parameters"] == 176 + 40 + 2 * (128 + 64 + 288));
    CHECK(about_model["int8_parameters"] == 2 * (128 + 64 + 288));
    CHECK(about_model["bytes"] == 2 * about_model["parameters"].get<int64_t>());
    CHECK(about_model["dtype"] == ordered_json{"BF16"});
    CHECK(info_text(about_model).find("num hidden layers        2\n") != std::string::npos);
    CHECK(info_text(about_model).find("parameters               1,176\n") != std::string::npos);
    CHECK(info_text(about_model).find("sliding window           none\n") != std::string::npos);

    CHECK(about_model["eos_token_ids"] == ordered_json{2});
    CHECK_FALSE(about_model.contains("notes"));

    write_tiny_adapter(model.path(), work / "adapter");
    ordered_json about_adapter = inspect(work / "adapter");
    CHECK(about_adapter["kind"] == "adapter");
    CHECK(about_adapter["r"] == 3);
    CHECK(about_adapter["target_modules"] == ordered_json{"down_proj", "o_proj"});
    CHECK(about_adapter["parameters"] == 2 * 3 * (8 + 8 + 12 + 8));
    CHECK_FALSE(about_adapter.contains("method"));

    QuaffState state;
    state.method = "quaff";
    state.outliers.emplace();
    state.outliers->strategy = "top_abs";
    for (const JointLinear& module : all_joint_linears(read_model_config(model.path()))) {
        state.outliers->channels[module.name] = {1, 2, 3};
    }
    write_quaff_state(work / "adapter", state);
    work.write("adapter/state.json", R"({"step": 300, "epoch": 1.5, "options": {"seed": 1}})");
    const ordered_json about_checkpoint = inspect(work / "adapter");
    CHECK(about_checkpoint["kind"] == "checkpoint");
    CHECK(about_checkpoint["step"] == 300);
    CHECK(about_checkpoint["method"] == "quaff");
    CHECK(about_checkpoint["outlier_channels"] == 24);
    CHECK_FALSE(about_checkpoint.contains("options"));

    write_outlier_channels(work / "outliers.json", *state.outliers);
    const ordered_json about_outliers = inspect(work / "outliers.json");
    CHECK(about_outliers["kind"] == "outliers");
    CHECK(about_outliers["strategy"] == "top_abs");
    CHECK(about_outliers["layers"] == 8);
    CHECK(about_outliers["outlier_channels"] == 24);
    CHECK(about_outliers["outlier_channels_per_module"]["down_proj"] == 6);
    CHECK(info_text(about_outliers).find("down_proj 6, gate_up_proj 6") != std::string::npos);
}

TEST_CASE("info shows the ids at which generation stops, and what is ignored", "[info]") {
    const TempDir model;
    json config = test::tiny_config();
    config["bos_token_id"] = 12;
    write_tiny_model(model, config);
    model.write("generation_config.json", R"({"eos_token_id": [7, 3]})");
    const ordered_json about = inspect(model.path());
    CHECK(about["eos_token_ids"] == ordered_json{7, 3});
    REQUIRE(about["notes"].size() == 1);
    CHECK(about["notes"][0].get<std::string>().find("\"bos_token_id\" holds 12") != std::string::npos);
    CHECK(info_text(about).find("eos token ids            7, 3\n") != std::string::npos);
}

TEST_CASE("a folder that holds a model and an adapter is shown as both", "[info]") {
    const TempDir model;
    write_tiny_model(model);
    write_tiny_adapter(model.path(), model.path());
    CHECK(kind_of(model.path()) == Kind::model);
    const ordered_json both = inspect(model.path());
    CHECK(both["kind"] == "model");
    CHECK(both["num_hidden_layers"] == 2);
    CHECK(both["adapter"]["kind"] == "adapter");
    CHECK(both["adapter"]["r"] == 3);
    const std::string text = info_text(both);
    CHECK(text.find("kind                     model\n") != std::string::npos);
    CHECK(text.find("\n\nkind            adapter\n") != std::string::npos);
    // A config.json without weights is one that somebody put beside an adapter.
    fs::remove(model / "model.safetensors");
    CHECK(inspect(model.path())["kind"] == "adapter");
}

TEST_CASE("info shows what chooses an adapter's layers", "[info]") {
    const ordered_json ranks = inspect("test/data/golden/adapters/ranks");
    CHECK(ranks["rank_pattern"].dump() == R"({"1\\.mlp\\.down_proj":6,"down_proj":1,"q_proj":3})");
    CHECK(info_text(ranks).find("q_proj 3") != std::string::npos);
    CHECK(ranks["scaling"] == 2);
    const ordered_json layers = inspect("test/data/golden/adapters/layers");
    CHECK(layers["layers_to_transform"] == ordered_json{1});
    CHECK(layers["use_rslora"] == true);
    const ordered_json expression = inspect("test/data/golden/adapters/expression");
    CHECK(expression["target_expression"] == R"(.*layers\.[02]\..*(q|down)_proj)");
    CHECK(expression["target_modules"] == ordered_json{"down_proj", "q_proj"});
    CHECK(expression["exclude_modules"] == ordered_json{"layers.2.mlp.down_proj"});
}

TEST_CASE("info says what a path is not", "[info]") {
    const TempDir work;
    work.write("a.json", "{}");
    CHECK(error_of(work, [&] { inspect(work / "no"); }) == "no: does not exist");
    CHECK(error_of(work, [&] { inspect(work / "a.json"); }) ==
          "a.json: is not an outlier file; it has no \"channels\"");
    fs::create_directory(work / "folder");
    CHECK(error_of(work, [&] { inspect(work / "folder"); }) ==
          "folder: is neither a model (config.json), an adapter or checkpoint (adapter_config.json), nor an outlier "
          "file");
    // A run's folder is not an adapter, but holds one.
    fs::create_directory(work / "folder" / "adapter");
    work.write("folder/adapter/adapter_config.json", "{}");
    CHECK(error_of(work, [&] { inspect(work / "folder"); }).ends_with("; did you mean folder/adapter?"));
}
