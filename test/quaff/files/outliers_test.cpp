#include "quaff/files/outliers.h"

#include <nlohmann/json.hpp>

#include "llmc/io/json.h"
#include "test/catch.h"
#include "test/files.h"
#include "test/quaff/tiny_model.h"

using namespace quaff;
using nlohmann::json;
using nlohmann::ordered_json;
using test::error_of;
using test::TempDir;

namespace {

ModelConfig tiny_model() {
    const TempDir directory;
    directory.write("config.json", test::tiny_config().dump());
    return read_model_config(directory.path());
}

// Every layer once; down_proj has channels.
OutlierChannels some_outliers(const ModelConfig& config) {
    OutlierChannels outliers;
    outliers.model = "tiny";
    outliers.strategy = "token_max";
    outliers.threshold = 100;
    outliers.max_ratio = "0.02";
    outliers.dataset = "gsm8k";
    outliers.samples = 512;
    for (const JointLinear& module : all_joint_linears(config)) {
        const bool down = module.name.ends_with("down_proj");
        outliers.channels[module.name] = down ? std::vector<int32_t>{0, 3, 11} : std::vector<int32_t>{};
        outliers.max_abs[module.name] = down ? std::vector<float>{0.1f, 3.25f, 1e6f} : std::vector<float>{};
    }
    return outliers;
}

constexpr const char* kDown = "model.layers.1.mlp.down_proj";

}  // namespace

TEST_CASE("an outlier file holds what was written, readable by eye", "[outliers]") {
    const ModelConfig config = tiny_model();
    const OutlierChannels outliers = some_outliers(config);
    const TempDir directory;
    write_outlier_channels(directory / "outlier/a.json", outliers);
    const OutlierChannels back = read_outlier_channels(directory / "outlier/a.json", config);
    CHECK(back.model == "tiny");
    CHECK(back.strategy == "token_max");
    CHECK(back.dataset == "gsm8k");
    CHECK(back.threshold == 100);
    CHECK(back.max_ratio == "0.02");
    CHECK(back.samples == 512);
    CHECK(back.channels == outliers.channels);
    CHECK(back.max_abs == outliers.max_abs);
    const std::string text = test::read(directory / "outlier/a.json");
    CHECK(text.find("\"max_ratio\": 0.02,\n") != std::string::npos);
    CHECK(text.find("\n    \"model.layers.1.mlp.down_proj\": [0,3,11]\n") != std::string::npos);
    CHECK(text.find("\n    \"model.layers.1.mlp.down_proj\": [0.1,3.25,1000000.0]\n") != std::string::npos);
}

TEST_CASE("max_abs is optional, and a ratio per module stays as it was written", "[outliers]") {
    const ModelConfig config = tiny_model();
    OutlierChannels outliers = some_outliers(config);
    outliers.max_abs.clear();
    outliers.max_ratio = "down_proj=0.05,0.003";
    const TempDir directory;
    write_outlier_channels(directory / "a.json", outliers);
    const OutlierChannels back = read_outlier_channels(directory / "a.json", config);
    CHECK(back.max_abs.empty());
    CHECK(back.max_ratio == "down_proj=0.05,0.003");
}

TEST_CASE("outlier files made by the reference implementation are read", "[outliers]") {
    const ModelConfig config = read_model_config("test/data/golden/llama_gqa/model");
    const OutlierChannels outliers = read_outlier_channels("test/data/golden/llama_gqa/outlier/token_max.json", config);
    CHECK(outliers.strategy == "token_max");
    CHECK(outliers.channels.size() == 8);
    CHECK(outliers.max_abs.size() == 8);
}

TEST_CASE("an outlier file that does not fit the model is refused, naming the layer", "[outliers]") {
    const ModelConfig config = tiny_model();
    const TempDir directory;
    const auto error_with = [&](auto&& change) {
        ordered_json object = outliers_to_json(some_outliers(config));
        change(object);
        directory.write("a.json", object.dump());
        return error_of(directory, [&] { read_outlier_channels(directory / "a.json", config); });
    };
    const auto error_for_channels = [&](const json& list) {
        return error_with([&](ordered_json& o) { o["channels"][kDown] = list; });
    };
    const std::string down = "a.json: field \"channels.model.layers.1.mlp.down_proj\" ";
    CHECK(error_with([](ordered_json&) {}) == "");
    CHECK(error_with([](ordered_json& o) { o.erase("channels"); }) ==
          "a.json: field \"channels\" is missing, so this is no outlier file; `train_quaff calibrate` writes one");
    CHECK(error_with([](ordered_json& o) { o["channels"].erase(kDown); }) ==
          down + "is missing; give an empty list if the layer has no outlier channel");
    const auto without_last_layer = [](ordered_json& o) {
        for (const char* module : {"self_attn.qkv_proj", "self_attn.o_proj", "mlp.gate_up_proj", "mlp.down_proj"})
            o["channels"].erase(std::string("model.layers.1.") + module);
        o["model"] = "small";
    };
    CHECK(
        error_with(without_last_layer) ==
        "a.json: field \"channels\" has lists up to model.layers.0, for the model \"small\", but this model goes up to "
        "model.layers.1; the file seems to belong to another model");
    CHECK(error_with([](ordered_json& o) { o["channels"]["model.layers.2.mlp.down_proj"] = json::array(); }) ==
          "a.json: field \"channels.model.layers.2.mlp.down_proj\" is no layer of this model, whose layers are "
          "model.layers.0.self_attn.qkv_proj .. model.layers.1.mlp.down_proj; the file belongs to another model");
    CHECK(
        error_with([](ordered_json& o) { o["channels"]["model.layers.0.self_attn.q_proj"] = {1}; }) ==
        "a.json: field \"channels.model.layers.0.self_attn.q_proj\": q, k, v and gate, up share their input and their "
        "outlier channels; give them once, under model.layers.0.self_attn.qkv_proj");
    CHECK(error_for_channels({3, 12}) == down + "must hold channels from 0 to 11, found 12");
    CHECK(error_for_channels({-1}) == down + "must hold channels from 0 to 11, found -1");
    CHECK(error_for_channels({1.5}) == down + "must hold channels from 0 to 11, found 1.5");
    CHECK(error_for_channels({18446744073709551615u}) ==
          down + "must hold channels from 0 to 11, found 18446744073709551615");
    CHECK(error_for_channels({3, 3, 4}) == down + "must be ascending without repetition, found 3 after 3");
    CHECK(error_for_channels({3, 2}) == down + "must be ascending without repetition, found 2 after 3");
    CHECK(error_for_channels("all") == down + "must be a list of channels, found \"all\"");
    CHECK(error_with([](ordered_json& o) { o["max_abs"].erase(kDown); }) ==
          "a.json: field \"max_abs.model.layers.1.mlp.down_proj\" is missing, but the layer has channels");
    CHECK(error_with([](ordered_json& o) {
              o["max_abs"][kDown] = {1, 2};
          }) == "a.json: field \"max_abs.model.layers.1.mlp.down_proj\" has 2 values for 3 channels");
    CHECK(error_with([](ordered_json& o) {
              o["max_abs"][kDown] = {1, 2, -3};
          }) ==
          "a.json: field \"max_abs.model.layers.1.mlp.down_proj\" must hold finite numbers that are not negative, "
          "found -3");
    CHECK(error_with([](ordered_json& o) {
              o["max_abs"][kDown] = {1, 2, 1e39};
          }) ==
          "a.json: field \"max_abs.model.layers.1.mlp.down_proj\" must hold finite numbers that are not negative, "
          "found 1e+39");
    CHECK(error_with([](ordered_json& o) { o["max_ratio"] = true; }) ==
          "a.json: field \"max_ratio\" must be a number or a string, found true");
}

TEST_CASE("a ratio may be given per joint module", "[outliers]") {
    const MaxRatio mixed("down_proj=0.05,o_proj=0.02,0.003");
    CHECK(mixed.of("model.layers.3.mlp.down_proj") == 0.05);
    CHECK(mixed.of("o_proj") == 0.02);
    CHECK(mixed.of("qkv_proj") == 0.003);
    CHECK(MaxRatio("0.04").of("gate_up_proj") == 0.04);
    CHECK(MaxRatio("down_proj=0.05").of("qkv_proj") == 0.02);  // the default
    CHECK(MaxRatio("0").of("qkv_proj") == 0);
    const auto error = [](const std::string& text) {
        try {
            MaxRatio ratio(text);
        } catch (const UsageError& e) {
            return std::string(e.what());
        }
        return std::string();
    };
    CHECK(error("abc") == "--outlier-max-ratio abc: \"abc\" is not a number from 0 to 1");
    CHECK(error("") == "--outlier-max-ratio : \"\" is not a number from 0 to 1");
    CHECK(error("1.5") == "--outlier-max-ratio 1.5: \"1.5\" is not a number from 0 to 1");
    CHECK(error("-0.1") != "");
    CHECK(error("nan") != "");
    CHECK(error("0.1,") != "");
    CHECK(error("0.1,0.2") == "--outlier-max-ratio 0.1,0.2: gives two numbers without a module");
    CHECK(error("o_proj=0.1,o_proj=0.1") == "--outlier-max-ratio o_proj=0.1,o_proj=0.1: names o_proj twice");
    CHECK(error("up_proj=0.1") ==
          "--outlier-max-ratio up_proj=0.1: up_proj shares its input, and its outlier channels, with its neighbours; "
          "name "
          "them together: gate_up_proj");
    CHECK(error("lm_head=0.1") ==
          "--outlier-max-ratio lm_head=0.1: there is no module lm_head; there are qkv_proj, o_proj, gate_up_proj and "
          "down_proj");
}

TEST_CASE("--outlier-budget is a share or a percentage", "[outliers][budget]") {
    CHECK(parse_outlier_budget("") == 0);
    CHECK(parse_outlier_budget("1%") == 0.01);
    CHECK(parse_outlier_budget("0.02") == 0.02);
    CHECK(parse_outlier_budget("100%") == 1);
    for (const char* wrong : {"0", "-1%", "101%", "1.5", "%", "1 %", "one", "nan", "1%%"})
        CHECK_THROWS_WITH(parse_outlier_budget(wrong),
                          std::string("--outlier-budget ") + wrong + ": is not a share above 0 such as 1% or 0.01");
}

TEST_CASE("outlier channels are counted in whole groups of four", "[outliers]") {
    CHECK(max_outliers(8192, 0.01) == 80);  // as published for Phi-3-mini's down_proj
    CHECK(max_outliers(576, 0.02) == 8);
    CHECK(max_outliers(3072, 0.0) == 0);
    CHECK(max_outliers(100, 0.03) == 0);
    CHECK(max_outliers(8, 1.0) == 8);
    CHECK(max_outliers(400, 0.29) == 116);  // 115.99999999999999 in binary
}
