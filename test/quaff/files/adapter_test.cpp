#include "quaff/files/adapter.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "quaff/files/quaff_json.h"
#include "test/catch.h"
#include "test/files.h"
#include "test/quaff/tiny_model.h"

using namespace quaff;
using nlohmann::json;
using test::error_of;
using test::TempDir;
namespace fs = std::filesystem;

namespace {

ModelConfig tiny_model(const std::string& model_type = "llama") {
    const TempDir directory;
    directory.write("config.json", test::tiny_config(model_type).dump());
    return read_model_config(directory.path());
}

// An adapter of the named layers of every block, and the memory its views look into.
struct SomeAdapter {
    std::vector<std::vector<float>> values;
    std::vector<LoraAdapter> tensors;

    SomeAdapter(const ModelConfig& model, int64_t r, const std::vector<std::string>& targets) {
        int seed = 0;
        for_each_linear(model, [&](const JointLinear& joint, const LinearPart& linear) {
            const std::string target = linear.name.substr(linear.name.rfind('.') + 1);
            if (std::find(targets.begin(), targets.end(), target) == targets.end()) return;
            LoraAdapter& adapter = tensors.emplace_back();
            adapter.module = linear.name;
            values.push_back(test::some_values(r * joint.in_features, ++seed));
            adapter.a = {values.back().data(), r, joint.in_features};
            values.push_back(test::some_values(linear.out_features * r, ++seed));
            adapter.b = {values.back().data(), linear.out_features, r};
        });
    }
};

bool equal(Matrix<const float> x, Matrix<const float> y) {
    return x.rows == y.rows && x.cols == y.cols && std::equal(x.data, x.data + x.size(), y.data);
}

LoraConfig some_config() {
    LoraConfig config;
    config.r = 2;
    config.lora_alpha = 16;
    config.lora_dropout = 0.1;
    config.base_model = "models/tiny";
    return config;
}

}  // namespace

TEST_CASE("an adapter comes back as it was written", "[adapter]") {
    for (const auto& [model_type, targets] :
         {std::pair("llama", std::vector<std::string>{"q_proj", "v_proj", "down_proj"}),
          std::pair("phi3", std::vector<std::string>{"qkv_proj", "gate_up_proj"})}) {
        const ModelConfig model = tiny_model(model_type);
        const SomeAdapter written(model, 2, targets);
        const TempDir directory;
        write_adapter(directory / "out/adapter", some_config(), written.tensors);
        const Adapter read(directory / "out/adapter", model);
        CHECK(read.config().r == 2);
        CHECK(read.config().lora_alpha == 16);
        CHECK(read.config().lora_dropout == 0.1);
        CHECK(read.config().base_model == "models/tiny");
        CHECK(read.config().target_modules.list() == targets);
        CHECK(read.notes().empty());
        REQUIRE(read.tensors().size() == written.tensors.size());
        for (size_t i = 0; i < written.tensors.size(); ++i) {
            CHECK(read.tensors()[i].module == written.tensors[i].module);
            CHECK(read.tensors()[i].scaling == 8);
            CHECK(equal(read.tensors()[i].a, written.tensors[i].a));
            CHECK(equal(read.tensors()[i].b, written.tensors[i].b));
        }
        CHECK(read.find(written.tensors[1].module) == &read.tensors()[1]);
        CHECK(read.find("model.layers.0.self_attn.o_proj") == nullptr);
    }
}

TEST_CASE("the files are named and laid out as PEFT's", "[adapter]") {
    const ModelConfig model = tiny_model();
    const TempDir directory;
    write_adapter(directory.path(), some_config(), SomeAdapter(model, 2, {"o_proj"}).tensors);
    const SafetensorsFile file(directory / "adapter_model.safetensors");
    CHECK(file.tensors().size() == 4);
    CHECK(file.tensor("base_model.model.model.layers.1.self_attn.o_proj.lora_A.weight").shape ==
          std::vector<int64_t>{2, 8});
    CHECK(file.tensor("base_model.model.model.layers.1.self_attn.o_proj.lora_B.weight").shape ==
          std::vector<int64_t>{8, 2});
    CHECK(file.metadata().at("format") == "pt");
    const json config = json::parse(test::read(directory / "adapter_config.json"));
    CHECK(config.at("peft_type") == "LORA");
    CHECK(config.at("task_type") == "CAUSAL_LM");
    CHECK(config.at("target_modules") == json{"o_proj"});
    CHECK(config.at("lora_alpha").is_number_integer());
    CHECK(config.at("bias") == "none");
}

TEST_CASE("adapters that PEFT wrote are read", "[adapter]") {
    for (const char* name :
         {"llama_gqa", "llama_mqa_linear", "mistral_window", "phi3", "phi3_longrope", "qwen2", "qwen3", "smollm3"}) {
        const fs::path golden = fs::path("test/data/golden") / name;
        const ModelConfig model = read_model_config(golden / "model");
        const Adapter adapter(golden / "adapter", model);
        INFO(name);
        CHECK(adapter.config().r > 0);
        CHECK_FALSE(adapter.tensors().empty());
        CHECK(adapter.tensors().size() % static_cast<size_t>(model.num_hidden_layers) == 0);
    }
}

TEST_CASE("half-precision adapters and rank-stabilised scaling are read", "[adapter]") {
    const ModelConfig model = tiny_model();
    const TempDir directory;
    write_adapter(directory.path(), some_config(), SomeAdapter(model, 2, {"o_proj"}).tensors);
    std::vector<TensorSpec> specs;
    const SafetensorsFile full(directory / "adapter_model.safetensors");
    for (const auto& [name, tensor] : full.tensors()) {
        specs.push_back({name, "BF16", tensor.shape});
    }
    test::write_tensors(directory / "adapter_model.safetensors", specs);
    json config = json::parse(test::read(directory / "adapter_config.json"));
    config["use_rslora"] = true;
    config["r"] = 2;
    config["target_modules"] = ".*o_proj";
    directory.write("adapter_config.json", config.dump());
    const Adapter adapter(directory.path(), model);
    CHECK(adapter.tensors()[0].scaling == Approx(16 / std::sqrt(2.0)).epsilon(1e-7));
    const float first = test::some_values(1, 1)[0];
    CHECK(adapter.tensors()[0].a.data[0] == bf16_to_float(float_to_bf16(first)));
}

TEST_CASE("a LoRA that computes something else is refused by name", "[adapter]") {
    const ModelConfig model = tiny_model();
    const TempDir directory;
    write_adapter(directory.path(), some_config(), SomeAdapter(model, 2, {"o_proj"}).tensors);
    const json good = json::parse(test::read(directory / "adapter_config.json"));
    const auto error_with = [&](const char* field, const json& value) {
        json config = good;
        config[field] = value;
        directory.write("adapter_config.json", config.dump());
        return error_of(directory, [&] { Adapter(directory.path(), model); });
    };
    const std::string field = "adapter_config.json: field ";
    const std::string merge = "; merge it into its model with PEFT (merge_and_unload) and use the merged model";
    CHECK(error_with("r", 2) == "");
    CHECK(error_with("use_dora", true) ==
          field + "\"use_dora\" is true, which is not supported (DoRA scales whole rows of the weights)" + merge);
    CHECK(error_with("modules_to_save", {"lm_head"}) ==
          field +
              "\"modules_to_save\" is [\"lm_head\"], which is not supported (the adapter replaces whole modules of "
              "the model)" +
              merge);
    CHECK(error_with("lora_bias", true) ==
          field + "\"lora_bias\" is true, which is not supported (B has a bias of its own); use a plain LoRA adapter");
    for (const char* name : {"trainable_token_indices", "target_parameters", "layer_replication", "kasa_config",
                             "use_qalora", "alora_invocation_tokens", "arrow_config", "use_bdlora", "velora_config",
                             "monteclora_config", "megatron_config"}) {
        CHECK(error_with(name, {1}).starts_with(field + "\"" + name + "\" is [1], which is not supported ("));
        for (const json& off : {json(), json(false), json(""), json::array(), json::object()})
            CHECK(error_with(name, off) == "");
    }
    // Of no effect on an adapter that is loaded.
    for (const char* name : {"eva_config", "loftq_config", "corda_config", "lora_ga_config", "revision", "peft_version",
                             "fan_in_fan_out", "qalora_group_size", "auto_mapping"})
        CHECK(error_with(name, {{"rho", 2}}) == "");
    CHECK(error_with("use_tomorrows", true) ==
          field +
              "\"use_tomorrows\" is true, and this program does not know what it does; remove the field if the "
              "adapter is plain LoRA all the same");
    CHECK(error_with("tomorrows_config", {{"size", 0.5}}) ==
          field +
              "\"tomorrows_config\" is {..}, and this program does not know what it does; remove the field if the "
              "adapter is plain LoRA all the same");
    for (const json& off : {json(), json(false), json(""), json::array(), json::object({{"size", nullptr}})})
        CHECK(error_with("use_tomorrows", off) == "");
    CHECK(error_with("bias", "all") ==
          "adapter_config.json: field \"bias\" is \"all\", which is not supported: \"none\" is");
    CHECK(error_with("peft_type", "IA3") ==
          "adapter_config.json: field \"peft_type\" is \"IA3\", which is not supported: \"LORA\" is");
    CHECK(error_with("init_lora_weights", "pissa_niter_4") ==
          "adapter_config.json: field \"init_lora_weights\" is \"pissa_niter_4\", which changes the model's own "
          "weights and "
          "is not supported; convert the adapter to plain LoRA in PEFT");
    CHECK(error_with("init_lora_weights", "gaussian") == "");
    CHECK(error_with("r", 0) == "adapter_config.json: field \"r\" must be a positive integer up to 65536, found 0");
    CHECK(error_with("lora_alpha", "16") ==
          "adapter_config.json: field \"lora_alpha\" must be a number from -1e+06 to 1e+06, found \"16\"");
    CHECK(error_with("lora_dropout", 1.0) == "adapter_config.json: field \"lora_dropout\" must be smaller than 1");
}

TEST_CASE("an adapter of another model is refused, naming the tensor", "[adapter]") {
    const ModelConfig model = tiny_model();
    const SomeAdapter good(model, 2, {"q_proj", "o_proj"});
    const auto error_with = [&](auto&& change, int64_t r = 2) {
        const TempDir directory;
        std::vector<LoraAdapter> tensors = good.tensors;
        change(tensors);
        LoraConfig config = some_config();
        config.r = r;
        config.target_modules = {"q_proj", "o_proj"};
        write_adapter(directory.path(), config, tensors);
        return error_of(directory, [&] { Adapter(directory.path(), model); });
    };
    const std::string file = "adapter_model.safetensors: ";
    CHECK(error_with([](auto&) {}) == "");
    CHECK(
        error_with([](auto& t) { t[0].module = "model.layers.2.self_attn.q_proj"; }) ==
        file +
            "tensor base_model.model.model.layers.2.self_attn.q_proj.lora_A.weight is for layer 2, but the model has 2 "
            "layers; the adapter belongs to another model");
    const std::string known =
        " adapts no layer of a llama model that LoRA is supported for; those are self_attn.q_proj, self_attn.k_proj, "
        "self_attn.v_proj, self_attn.o_proj, mlp.gate_proj, mlp.up_proj, mlp.down_proj of model.layers.0 .. 1";
    for (const char* module : {"model.layers.0.self_attn.qkv_proj", "lm_head", "model.layers.x.self_attn.q_proj",
                               "model.layers..self_attn.q_proj", "model.layers.9999999999999999999.mlp.up_proj"}) {
        INFO(module);
        CHECK(error_with([&](auto& t) { t[0].module = module; }) ==
              file + "tensor base_model.model." + module + ".lora_A.weight" + known);
    }
    const auto missing = [&](const std::string& module) {
        return file + "tensor base_model.model." + module +
               ".lora_A.weight is missing, though adapter_config.json has an adapter there; fetch the adapter again, "
               "or "
               "leave " +
               module + " out in target_modules, layers_to_transform or exclude_modules";
    };
    CHECK(error_with([](auto& t) { t.pop_back(); }) == missing("model.layers.1.self_attn.o_proj"));
    CHECK(error_with([](auto& t) { t.erase(t.begin()); }) == missing("model.layers.0.self_attn.q_proj"));
    CHECK(error_with([](auto&) {}, 4) ==
          file +
              "tensor base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight has shape [2, 8], but rank 4 (r "
              "or rank_pattern) and the model's config.json ask for [4, 8]; the adapter belongs to another model");
    CHECK(error_with([](auto& t) { t.clear(); }) == file + "holds no tensor");
}

// As PEFT loads them; it does not say so.
TEST_CASE("tensors that the config leaves out are not used, and named", "[adapter]") {
    const ModelConfig model = tiny_model();
    const TempDir directory;
    LoraConfig config = some_config();
    const SomeAdapter all(model, 2, {"q_proj", "o_proj", "down_proj"});
    const auto read = [&](const LoraConfig& as) {
        write_adapter(directory.path(), as, all.tensors);
        return Adapter(directory.path(), model);
    };
    CHECK(read(config).notes().empty());
    config.target_modules = {"o_proj", "down_proj"};
    config.exclude_modules = {"layers.0.mlp.down_proj"};
    const Adapter some = read(config);
    REQUIRE(some.tensors().size() == 3);
    CHECK(some.tensors()[1].module == "model.layers.1.self_attn.o_proj");
    CHECK(equal(some.tensors()[2].b, all.tensors[5].b));
    REQUIRE(some.notes().size() == 1);
    CHECK(some.notes()[0] ==
          (directory / "adapter_model.safetensors").string() +
              ": the tensors of model.layers.0.self_attn.q_proj and 2 more are not used, as in PEFT: "
              "target_modules and what restricts it (exclude_modules, layers_to_transform) in "
              "adapter_config.json leave them out");
    config.target_modules = {"lm_head", "o_proj"};
    CHECK(error_of(directory, [&] {
              read(config);
          }).starts_with("adapter_config.json: field \"target_modules\" also matches lm_head, which takes no adapter"));
}

TEST_CASE("half of a pair, a foreign tensor or a NaN is refused", "[adapter]") {
    const ModelConfig model = tiny_model();
    const TempDir directory;
    write_adapter(directory.path(), some_config(), SomeAdapter(model, 2, {"o_proj"}).tensors);
    const std::string prefix = "base_model.model.model.layers.";
    const auto error_with = [&](std::vector<TensorSpec> specs, float value = 1) {
        SafetensorsWriter writer(directory / "adapter_model.safetensors", specs);
        for (const TensorSpec& spec : specs) {
            writer.write(spec.name, std::vector<float>(static_cast<size_t>(spec.shape[0] * spec.shape[1]), value));
        }
        writer.finish();
        return error_of(directory, [&] { Adapter(directory.path(), model); });
    };
    std::vector<TensorSpec> specs;
    for (const char* layer : {"0", "1"}) {
        specs.push_back({prefix + layer + ".self_attn.o_proj.lora_A.weight", "F32", {2, 8}});
        specs.push_back({prefix + layer + ".self_attn.o_proj.lora_B.weight", "F32", {8, 2}});
    }
    CHECK(error_with(specs) == "");
    CHECK(error_with(specs, std::nanf("")) == "adapter_model.safetensors: tensor " + specs[0].name +
                                                  " holds NaN at [0, 0]; the file is damaged, fetch it again");
    const auto missing = [&](const TensorSpec& spec) {
        return "adapter_model.safetensors: tensor " + spec.name + " is missing, though ";
    };
    CHECK(error_with({specs[0], specs[1], specs[2]}).starts_with(missing(specs[3])));
    CHECK(error_with({specs[1], specs[3]}).starts_with(missing(specs[0])));
    specs.push_back({prefix + "0.self_attn.o_proj.lora_magnitude_vector", "F32", {8, 1}});
    CHECK(error_with(specs) ==
          "adapter_model.safetensors: tensor " + specs.back().name +
              " is neither a lora_A nor a lora_B, and only those are supported; merge the adapter into "
              "its model with PEFT (merge_and_unload) and use the merged model");
    fs::remove(directory / "adapter_model.safetensors");
    CHECK(error_of(directory, [&] { Adapter(directory.path(), model); }) ==
          "adapter_model.safetensors: is missing; adapters are read from safetensors, save a .bin one again with a "
          "newer PEFT");
    CHECK(error_of(directory, [&] { Adapter(directory / "no", model); }) ==
          "no: is not an adapter directory; it has no adapter_config.json, which PEFT writes next to "
          "adapter_model.safetensors");
}

TEST_CASE("an adapter in place of a model is told from a model with an adapter beside it", "[adapter]") {
    const fs::path folder = test::fresh_folder("adapter_as_model");
    for (const char* file : {"adapter_config.json", "adapter_model.safetensors"}) test::write_text(folder / file, "{}");
    CHECK(error_of([&] { require_no_adapter_inside(folder); }) ==
          folder.string() + " is an adapter and no model: give --adapter " + folder.string() +
              " and the model it was trained on with --model");
}

TEST_CASE("a model's folder that also holds an adapter is named, with both ways out", "[adapter]") {
    const TempDir directory;
    test::write_tiny_model(directory);
    const auto error = [&] { return error_of([&] { require_no_adapter_inside(directory.path()); }); };
    const std::string folder = directory.path().string();
    CHECK(error() == "");
    test::write_tiny_adapter(directory.path(), directory.path());
    CHECK(error() ==
          folder + " holds an adapter (adapter_config.json) beside the model's weights: give --adapter " + folder +
              " to use both, or move adapter_config.json and adapter_model.safetensors away to use the model "
              "alone");
    CHECK(Adapter(directory.path(), read_model_config(directory.path())).tensors().size() == 4);
    fs::rename(directory / "adapter_model.safetensors", directory / "adapter_model.bin");
    CHECK(error().ends_with("or move adapter_config.json and adapter_model.bin away to use the model alone"));
    fs::remove(directory / "adapter_model.bin");  // its configuration alone is no adapter
    CHECK(error() == "");
}

TEST_CASE("quaff.json keeps how the frozen layers were computed", "[adapter]") {
    const ModelConfig model = tiny_model();
    const TempDir directory;
    CHECK_FALSE(read_quaff_state(directory.path(), model).has_value());
    QuaffState state;
    state.method = "quaff";
    state.rotation = true;
    state.outlier_term = OutlierTerm::split;
    state.scale_momentum = 0.25;
    state.grad_bits = 16;
    state.scale_strength = 0.75f;
    state.outliers.emplace();
    for (const JointLinear& module : all_joint_linears(model)) {
        const bool down = module.name.ends_with("down_proj");
        state.outliers->channels[module.name] = down ? std::vector<int32_t>{2, 5} : std::vector<int32_t>{};
        state.scales[module.name] = down ? std::vector<float>{1.1f, 1 / 3.0f} : std::vector<float>{};
    }
    write_quaff_state(directory.path(), state);
    const QuaffState back = read_quaff_state(directory.path(), model).value();
    CHECK(back.method == "quaff");
    CHECK(back.rotation);
    CHECK(back.outlier_term == OutlierTerm::split);
    CHECK(back.scale_momentum == 0.25);
    CHECK(back.grad_bits == 16);
    CHECK(back.scale_strength == 0.75f);
    CHECK(back.outliers->channels == state.outliers->channels);
    CHECK(back.scales == state.scales);

    const json good = json::parse(test::read(directory / "quaff.json"));
    const auto error_with = [&](auto&& change) {
        json object = good;
        change(object);
        directory.write("quaff.json", object.dump());
        return error_of(directory, [&] { read_quaff_state(directory.path(), model); });
    };
    const std::string down = "model.layers.1.mlp.down_proj";
    CHECK(error_with([&](json& o) { o["scales"][down] = {1}; }) ==
          "quaff.json: field \"scales." + down + "\" has 1 values for 2 outlier channels");
    CHECK(error_with([&](json& o) {
              o["scales"][down] = {1, 0};
          }) == "quaff.json: field \"scales." + down + "\" must hold positive finite numbers, found 0");
    CHECK(error_with([&](json& o) {
              o["outliers"]["channels"][down] = {2, 12};
          }) == "quaff.json: field \"outliers.channels." + down + "\" must hold channels from 0 to 11, found 12");
    CHECK(error_with([](json& o) { o["outlier_term"] = "cut"; }) ==
          "quaff.json: field \"outlier_term\" must be scaled or split, found \"cut\"");
    CHECK(error_with([](json& o) { o["rotation"] = 1; }) ==
          "quaff.json: field \"rotation\" must be true or false, found 1");
    CHECK(error_with([](json& o) { o["grad_bits"] = 12; }) ==
          "quaff.json: field \"grad_bits\" must be 8 or 16, found 12");
    CHECK(error_with([](json& o) { o.erase("outliers"); }) ==
          "quaff.json: field \"scales\" is there without \"outliers\"");

    CHECK(error_with([](json& o) { o["smooth_alpha"] = 1.5; }) ==
          "quaff.json: field \"smooth_alpha\" must be a number from 0 to 1, found 1.5");
    CHECK_FALSE((good.contains("smooth_alpha") || good.contains("int8_threshold")));
    CHECK(error_with([](json& o) { o["scale_strength"] = -1; }) ==
          "quaff.json: field \"scale_strength\" must be a number from 0 to 1, found -1");

    QuaffState others;
    others.method = "smooth-static";
    others.smooth_alpha = 0.7f;
    others.scale_strength = 0.75f;
    others.outliers = state.outliers;
    write_quaff_state(directory.path(), others);
    CHECK(read_quaff_state(directory.path(), model)->smooth_alpha == 0.7f);
    CHECK_FALSE(json::parse(test::read(directory / "quaff.json")).contains("scale_strength"));
    others.method = "llm-int8";
    others.int8_threshold = 4.5f;
    write_quaff_state(directory.path(), others);
    CHECK(read_quaff_state(directory.path(), model)->int8_threshold == 4.5f);
    CHECK_FALSE(json::parse(test::read(directory / "quaff.json")).contains("smooth_alpha"));

    QuaffState full_precision;
    full_precision.method = "fp";
    write_quaff_state(directory.path(), full_precision);
    CHECK_FALSE(read_quaff_state(directory.path(), model)->outliers.has_value());
}
