// Which linears get an adapter, with what rank and scaling: test/data/golden/adapters/choices.json has what PEFT
// decides.
#include "quaff/files/lora.h"

#include <nlohmann/json.hpp>

#include "quaff/files/adapter_config.h"
#include "test/catch.h"
#include "test/files.h"
#include "test/quaff/tiny_model.h"

using namespace quaff;
using nlohmann::ordered_json;
using test::error_of;
using test::TempDir;
namespace fs = std::filesystem;

namespace {

const fs::path kGolden = "test/data/golden";

// {"model.layers.0.self_attn.q_proj": [rank, scaling], ..}
std::map<std::string, std::pair<int64_t, double>> choice_of(const LoraConfig& lora, const ModelConfig& model) {
    std::map<std::string, std::pair<int64_t, double>> chosen;
    for_each_linear(model, [&](const JointLinear&, const LinearPart& part) {
        if (lora.targets(part.name)) chosen[part.name] = {lora.rank(part.name), lora.scaling(part.name)};
    });
    return chosen;
}

LoraConfig read_fields(const TempDir& folder, const ordered_json& fields) {
    ordered_json config = {{"peft_type", "LORA"}, {"r", 4}, {"lora_alpha", 8}};
    config.update(fields);
    folder.write(kAdapterConfig, config.dump());
    return read_lora_config(folder.path());
}

}  // namespace

TEST_CASE("adapters are where PEFT puts them, with its ranks and scalings", "[lora][golden]") {
    const TempDir folder;
    for (const ordered_json& choice : ordered_json::parse(test::read(kGolden / "adapters/choices.json"))) {
        CAPTURE(choice["config"].dump());
        const ModelConfig model = read_model_config(kGolden / choice["model"].get<std::string>() / "model");
        // PEFT also adapts the head, which is refused here.
        const bool refused = choice.contains("error") || choice["modules"].contains("lm_head");
        LoraConfig lora;
        const std::string error = error_of([&] {
            lora = read_fields(folder, choice["config"]);
            require_linear_targets(lora, model, "target_modules");
        });
        CHECK(error.empty() != refused);
        if (refused || !error.empty()) continue;
        std::map<std::string, std::pair<int64_t, double>> expected;
        for (const auto& [module, of] : choice["modules"].items()) expected[module] = {of[0], of[1]};
        CHECK(choice_of(lora, model) == expected);

        // As it is written, it is read again.
        write_lora_config(folder.path(), lora, {});
        if (!lora.target_modules.empty()) CHECK(choice_of(read_lora_config(folder.path()), model) == expected);
    }
}

TEST_CASE("a written config keeps its patterns and their order", "[lora]") {
    const TempDir folder;
    const ordered_json fields = {{"target_modules", {"q_proj", "v_proj"}},
                                 {"exclude_modules", ".*0.*"},
                                 {"layers_to_transform", {1}},
                                 {"layers_pattern", {"h", "layers"}},
                                 {"rank_pattern", {{"z.*", 3}, {"q_proj", 2}, {"a.*", 1}}},
                                 {"alpha_pattern", {{"v_proj", 0.5}, {"q_proj", 2}}},
                                 {"use_rslora", true}};
    write_lora_config(folder.path(), read_fields(folder, fields), {});
    const ordered_json written = ordered_json::parse(test::read(folder / kAdapterConfig));
    for (const auto& [key, value] : fields.items()) CHECK(written[key].dump() == value.dump());
    CHECK(written["alpha_pattern"]["q_proj"].is_number_integer());
    write_lora_config(folder.path(),
                      read_fields(folder, {{"target_modules", ".*_proj"}, {"layers_to_transform", nullptr}}), {});
    CHECK(ordered_json::parse(test::read(folder / kAdapterConfig))["target_modules"] == ".*_proj");
}

TEST_CASE("fields that choose layers are checked", "[lora]") {
    const TempDir folder;
    const auto error = [&](const ordered_json& fields) {
        return error_of(folder, [&] { read_fields(folder, fields); });
    };
    const std::string start = "adapter_config.json: field ";
    CHECK(error({{"target_modules", "["}}) ==
          start +
              "\"target_modules\": the regular expression [ is not valid: missing terminating ] for character class");
    CHECK(error({{"target_modules", ".*"}, {"layers_to_transform", 1}}) ==
          start +
              "\"layers_to_transform\" needs a list in target_modules, and there is an expression; write the layers "
              "into the expression");
    CHECK(error({{"target_modules", {"q_proj"}}, {"layers_pattern", "h"}}) ==
          start + "\"layers_pattern\" is there without layers_to_transform");
    CHECK(error({{"target_modules", {"q_proj"}}, {"layers_to_transform", {"1"}}}) ==
          start + "\"layers_to_transform\" must be the index of a layer or a list of them, found [\"1\"]");
    CHECK(error({{"target_modules", ordered_json::array()}}) ==
          start + "\"target_modules\" is empty: the adapter changes nothing");
    CHECK(error({{"rank_pattern", {{"q_proj", 0}}}}) ==
          start + "\"rank_pattern.q_proj\" must be a positive integer up to 65536, found 0");
    CHECK(error({{"rank_pattern", {{"q_proj)", 2}}}})
              .starts_with(start + "\"rank_pattern\": the regular expression q_proj) is not valid: "));
    CHECK(
        error({{"alpha_pattern", {{"q_proj", "2"}}}}).starts_with(start + "\"alpha_pattern.q_proj\" must be a number"));
    ordered_json ranks;
    for (int i = 0; i < 101; ++i) ranks["q_proj" + std::string(static_cast<size_t>(i), 'x') + "*"] = 2;
    CHECK(error({{"rank_pattern", ranks}}) ==
          "adapter_config.json: rank_pattern, alpha_pattern and layers_pattern have 101 regular expressions with "
          "repetitions or choices; up to 100 are supported, write the others as names");
    ordered_json many = ordered_json::array();
    for (int i = 0; i < 10'001; ++i) many.push_back("q_proj");
    CHECK(error({{"target_modules", many}}) ==
          start + "\"target_modules\" has 10001 entries; up to 10000 are supported");
}

TEST_CASE("names that no layer has are told with those that are there", "[lora]") {
    const TempDir folder;
    folder.write("config.json", test::tiny_config().dump());
    const ModelConfig model = read_model_config(folder.path());
    const std::string names = "q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj";
    CHECK(error_of([&] {
              require_known_targets({"q_proj", "c_attn"}, model, "x");
          }) == "x: this model has no linear layer c_attn; it has " + names + " (or all-linear)");
    require_known_targets({"self_attn.q_proj", "model.layers.1.mlp.up_proj"}, model, "x");
    LoraConfig lora;
    lora.target_modules = {"q_proj"};
    lora.layers_to_transform = {5};
    CHECK(error_of([&] { require_linear_targets(lora, model, "x"); }) ==
          "x and what restricts it leave no linear layer of this model; its blocks have " + names + " (or all-linear)");
    lora.target_modules = ModuleNames(ModulePattern::whole("(.*)q_proj|(.*)norm", "x"));
    CHECK(error_of([&] { require_linear_targets(lora, model, "x"); }) ==
          "x and what restricts it leave no linear layer of this model; its blocks have " + names + " (or all-linear)");
    lora.layers_to_transform.clear();
    CHECK(error_of([&] { require_linear_targets(lora, model, "x"); }) ==
          "x also matches model.norm, which takes no adapter here; name " + names + ", or some of them, alone");
}

TEST_CASE("norms of queries and keys take no adapter", "[lora]") {
    const ModelConfig model = read_model_config(kGolden / "qwen3/model");
    for (const ordered_json& targets : {ordered_json{"q_proj", "q_norm"}, ordered_json(".*self_attn[.]q_.*")}) {
        const TempDir folder;
        const LoraConfig lora = read_fields(folder, {{"target_modules", targets}});
        CHECK(error_of([&] { require_linear_targets(lora, model, "target_modules"); }) ==
              "target_modules also matches model.layers.0.self_attn.q_norm, which takes no adapter here; name "
              "q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj, or some of them, alone");
    }
}
