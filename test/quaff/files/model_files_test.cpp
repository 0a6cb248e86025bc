#include "quaff/files/model_files.h"

#include <limits>

#include "test/catch.h"
#include "test/files.h"
#include "test/quaff/tiny_model.h"

using namespace quaff;
using nlohmann::json;
using test::error_of;
using test::TempDir;
using test::tiny_config;
using test::write_tiny_model;
namespace fs = std::filesystem;

namespace {

std::vector<float> read(const ModelFiles& checkpoint, const std::string& name, int64_t rows, int64_t cols) {
    std::vector<float> values(static_cast<size_t>(rows * cols));
    checkpoint.read(name, {values.data(), rows, cols});
    return values;
}

}  // namespace

TEST_CASE("tensors come in fp32, from one file and from shards", "[checkpoint_reader]") {
    const TempDir single, sharded;
    write_tiny_model(single, tiny_config(), "BF16");
    write_tiny_model(sharded, tiny_config(), "BF16", true);
    const ModelFiles one(single.path()), two(sharded.path());
    CHECK(one.shards().size() == 1);
    CHECK(two.shards().size() == 2);
    CHECK(one.config().hidden_size == 8);
    CHECK(one.name() == single.path().filename());
    CHECK(ModelFiles(single.path() / "").name() == single.path().filename());

    std::vector<float> expected = test::some_values(11 * 8, 1);  // the first tensor that is written
    for (float& x : expected) x = bf16_to_float(float_to_bf16(x));
    CHECK(read(one, "model.embed_tokens.weight", 11, 8) == expected);
    CHECK(read(one, "model.embed_tokens.weight", 11, 8) == expected);  // again, after its pages were let go
    CHECK(read(two, "model.embed_tokens.weight", 11, 8) == expected);

    std::vector<float> rows(3 * 8);
    one.read_rows("model.embed_tokens.weight", 11, 7, {rows.data(), 3, 8});
    CHECK(rows == std::vector<float>(expected.begin() + 7 * 8, expected.begin() + 10 * 8));
    CHECK_THROWS_WITH(one.read_rows("model.embed_tokens.weight", 11, 9, {rows.data(), 3, 8}),
                      Catch::Matchers::ContainsSubstring("has 88 elements, 24 from 72 on were asked for"));
    CHECK(one.dtype("model.embed_tokens.weight") == DType::bf16);
    CHECK(read(two, "model.norm.weight", 1, 8).size() == 8);
    CHECK(two.contains("lm_head.weight"));
    CHECK_FALSE(two.contains("lm_head.bias"));

    // Into some columns of a larger matrix: the others stay as they are.
    std::vector<float> wide(11 * 10, -7.0f);
    one.read("model.embed_tokens.weight", Matrix<float>(wide.data(), 11, 10).columns(1, 8));
    CHECK(wide[0] == -7);
    CHECK(wide[9] == -7);
    CHECK(wide[10 * 10 + 1] == expected[10 * 8]);
}

TEST_CASE("a tensor that does not fit the config is named with both shapes and their reason", "[checkpoint_reader]") {
    const TempDir directory;
    write_tiny_model(directory);
    // As if somebody had put another model's config next to the weights.
    directory.write("config.json", [] {
        json config = tiny_config();
        config["num_key_value_heads"] = 2;
        return config.dump();
    }());
    const ModelFiles checkpoint(directory.path());
    CHECK(error_of(directory, [&] { read(checkpoint, "model.layers.0.self_attn.k_proj.weight", 8, 8); }) ==
          "model.safetensors: tensor model.layers.0.self_attn.k_proj.weight has shape [4, 8], but config.json asks for "
          "[8, 8] "
          "(num_key_value_heads 2 x head_dim 4, hidden_size 8). The file and the config do not belong together.");
    CHECK(error_of(directory, [&] { read(checkpoint, "model.norm.weight", 1, 9); }) ==
          "model.safetensors: tensor model.norm.weight has shape [8], but config.json asks for [9] (hidden_size 8). "
          "The file "
          "and the config do not belong together.");
    // As many elements, but not the same matrix.
    CHECK(error_of([&] { read(checkpoint, "model.layers.0.mlp.up_proj.weight", 8, 12); }).find("has shape [12, 8]") !=
          std::string::npos);
    CHECK(error_of([&] { read(checkpoint, "model.layers.0.self_attn.q_proj.bias", 1, 8); })
              .ends_with(
                  ": the weights have no tensor model.layers.0.self_attn.q_proj.bias, which a llama model with this "
                  "config.json needs"));
}

TEST_CASE("weights with more layers than the config are refused", "[checkpoint_reader]") {
    for (const bool sharded : {false, true}) {
        const TempDir directory;
        json config = tiny_config();
        write_tiny_model(directory, config, "F32", sharded);
        const int layers = config["num_hidden_layers"];
        config["num_hidden_layers"] = layers - 1;
        directory.write("config.json", config.dump());
        const std::string error = error_of([&] { ModelFiles reader(directory.path()); });
        CHECK(error.find("the weights hold model.layers." + std::to_string(layers - 1) + ".") != error.npos);
        CHECK(error.find("but config.json says num_hidden_layers " + std::to_string(layers - 1) + ".") != error.npos);
    }
}

TEST_CASE("a value that is not finite is found when its tensor is read", "[checkpoint_reader]") {
    const TempDir directory;
    directory.write("config.json", tiny_config().dump());
    std::vector<float> norm(8, 1.0f);
    norm[5] = std::numeric_limits<float>::quiet_NaN();
    SafetensorsWriter writer(directory / "model.safetensors", {{"model.norm.weight", "F32", {8}}});
    writer.write("model.norm.weight", norm);
    writer.finish();
    const ModelFiles checkpoint(directory.path());
    CHECK(error_of(directory, [&] { read(checkpoint, "model.norm.weight", 1, 8); }) ==
          "model.safetensors: tensor model.norm.weight holds NaN at [5]; the file is damaged, fetch it again");
}

TEST_CASE("a directory without readable weights says what it has", "[checkpoint_reader]") {
    const TempDir directory;
    directory.write("config.json", tiny_config().dump());
    CHECK(
        error_of([&] { ModelFiles reader(directory.path()); })
            .ends_with(
                ": has neither model.safetensors nor model.safetensors.index.json; PyTorch's .bin files are not read, "
                "convert them to safetensors"));
    const auto index_error = [&](const json& index) {
        directory.write("model.safetensors.index.json", index.dump());
        return error_of(directory, [&] { ModelFiles reader(directory.path()); });
    };
    CHECK(index_error(json::object()) == "model.safetensors.index.json: field \"weight_map\" is missing");
    CHECK(index_error({{"weight_map", json::object()}}) ==
          "model.safetensors.index.json: field \"weight_map\" names no tensor");
    CHECK(index_error({{"weight_map", {{"a", 1}}}}) ==
          "model.safetensors.index.json: field \"weight_map.a\" must be a string, found 1");
    CHECK(index_error({{"weight_map", {{"a", "no.safetensors"}}}}) ==
          "no.safetensors: is missing, though model.safetensors.index.json names it; fetch the model's folder again");
    for (const char* name : {"../secret", "/etc/passwd", "a/b.safetensors", "..", ".", ""}) {
        INFO(name);
        CHECK(index_error({{"weight_map", {{"a", name}}}}) ==
              std::string("model.safetensors.index.json: field \"weight_map.a\" must name a file in the same "
                          "directory, found \"") +
                  name + "\"");
    }
    SafetensorsWriter writer(directory / "x.safetensors", {{"b", "F32", {0}}});
    writer.finish();
    CHECK(index_error({{"weight_map", {{"a", "x.safetensors"}}}}) ==
          "model.safetensors.index.json: says that tensor a is in x.safetensors, but it is not there");
}

TEST_CASE("the files are believed over an index that is not true", "[checkpoint_reader]") {
    const TempDir directory;
    write_tiny_model(directory, tiny_config(), "F32", true);
    const fs::path path = directory / "model.safetensors.index.json";
    const json good = json::parse(test::read(path));
    json index = good;
    index["weight_map"]["lm_head.weight"] = "model-00001-of-00002.safetensors";
    index["weight_map"]["model.embed_tokens.weight"] = "model-00002-of-00002.safetensors";
    index["weight_map"].erase("model.norm.weight");  // transformers finds it all the same
    directory.write("model.safetensors.index.json", index.dump());
    const ModelFiles files(directory.path());
    REQUIRE(files.config().notes.size() == 1);
    CHECK(files.config().notes[0] ==
          path.string() +
              ": tensors lm_head.weight and 1 more are in other files than it says; the files are believed");
    CHECK(read(files, "model.embed_tokens.weight", 11, 8) == test::some_values(11 * 8, 1));
    CHECK(files.contains("model.norm.weight"));

    directory.write("model.safetensors.index.json", good.dump());
    const auto shard = directory / "model-00001-of-00002.safetensors";
    std::vector<TensorSpec> specs = test::weight_specs(files.config(), "F32");
    std::erase_if(specs, [&](const TensorSpec& spec) {
        return spec.name == "model.norm.weight" || index["weight_map"][spec.name] != shard.filename().string();
    });
    test::write_tensors(shard, specs);
    CHECK(error_of([&] { ModelFiles(directory.path()); }) ==
          directory.path().string() +
              ": tensor lm_head.weight is in model-00001-of-00002.safetensors and in "
              "model-00002-of-00002.safetensors; one of them is another model's, fetch the folder again");
}

TEST_CASE("a head of its own is not tied, whatever the config says", "[checkpoint_reader]") {
    const TempDir directory;
    json config = tiny_config();
    config["tie_word_embeddings"] = true;
    for (const bool sharded : {false, true}) {
        CAPTURE(sharded);
        fs::remove(directory / "model.safetensors");
        write_tiny_model(directory, config, "BF16", sharded);
        const ModelFiles files(directory.path());
        CHECK_FALSE(files.config().tie_word_embeddings);
        CHECK(files.embedding() == std::string(kEmbedding));
        REQUIRE(files.config().notes.size() == 1);
        CHECK(files.config().notes[0] ==
              (directory / "config.json").string() +
                  ": field \"tie_word_embeddings\" is true, but the weights hold another lm_head.weight than the "
                  "embedding; it is used, as in transformers, and nothing is tied");
        config["tie_word_embeddings"] = true;
    }
}

TEST_CASE("a head that is the embedding, or there in its place, is tied", "[checkpoint_reader]") {
    const TempDir directory;
    json config = tiny_config();
    config["tie_word_embeddings"] = true;
    directory.write("config.json", config.dump());
    std::vector<TensorSpec> specs = test::weight_specs(read_model_config(directory.path()), "BF16");
    // The tensors' values depend on their place alone: the first and the last with the same bits.
    const auto write = [&](const char* head_type) {
        specs.back().dtype = head_type;
        SafetensorsWriter writer(directory / "model.safetensors", specs);
        for (const TensorSpec& spec : specs) {
            int64_t size = 1;
            for (const int64_t extent : spec.shape) size *= extent;
            const std::vector<float> values(static_cast<size_t>(size), 0.5f);
            const DType dtype = spec.dtype == "BF16" ? DType::bf16 : DType::f32;
            std::vector<std::byte> bytes(values.size() * static_cast<size_t>(size_of(dtype)));
            from_float(dtype, values.data(), bytes.data(), size);
            writer.write(spec.name, bytes);
        }
        writer.finish();
    };
    for (const char* head_type : {"BF16", "F32"}) {
        write(head_type);
        const ModelFiles files(directory.path());
        CHECK(files.config().tie_word_embeddings);
        CHECK(files.config().notes.empty());
    }
    specs.erase(specs.begin());
    write("BF16");
    const ModelFiles files(directory.path());
    CHECK(files.config().tie_word_embeddings);
    CHECK(files.embedding() == std::string(kHead));
    CHECK(files.config().notes.empty());
}

TEST_CASE("tensors that the architecture has no place for are refused, or named", "[checkpoint_reader]") {
    const TempDir directory;
    directory.write("config.json", tiny_config().dump());
    // A file with one more tensor of four values, and the note or the error about it.
    const auto with = [&](const std::string& name, float value, const std::string& dtype = "F32") {
        std::vector<TensorSpec> specs = test::weight_specs(read_model_config(directory.path()), "F32");
        specs.push_back({name, dtype, {4}});
        SafetensorsWriter writer(directory / "model.safetensors", specs);
        for (const TensorSpec& spec : specs) {
            int64_t size = 1;
            for (const int64_t extent : spec.shape) size *= extent;
            writer.write(spec.name, std::vector<float>(static_cast<size_t>(size), value));
        }
        writer.finish();
        std::string note;
        const std::string error = error_of(directory, [&] {
            const ModelFiles files(directory.path());
            for (const std::string& told : files.config().notes) note += told;
        });
        return error + note.substr(std::min(note.size(), directory.path().string().size()));
    };
    const std::string layer = "model.layers.0.self_attn.";
    const auto refused = [&](const std::string& name, const std::string& advice) {
        return "model.safetensors: tensor " + name +
               " has no place in a llama model, and without it the model computes something else; " + advice;
    };
    const auto named = [](const std::string& name) {
        return ": the weights hold tensors that a llama model has no place for, which are not used: " + name;
    };
    const std::string bias = "does config.json lack attention_bias or mlp_bias, or name another model_type?";
    const std::string scale = "these are the weights of a quantized model; use the original one in F32, F16 or BF16";
    CHECK(with(layer + "q_norm.weight", 1) ==
          refused(layer + "q_norm.weight", "config.json should name another model_type"));
    CHECK(with(layer + "q_proj.bias", 0.5f) == refused(layer + "q_proj.bias", bias));
    CHECK(with(layer + "q_proj.bias", 0) == named(layer + "q_proj.bias"));
    CHECK(with(layer + "q_proj.weight_scale", 2) == refused(layer + "q_proj.weight_scale", scale));
    CHECK(with(layer + "q_proj.weight_scale", 1) == named(layer + "q_proj.weight_scale"));
    CHECK(with(layer + "q_proj.weight_scale", 1, "I32") == refused(layer + "q_proj.weight_scale", scale));
    CHECK(with("lm_head.bias", 1) == refused("lm_head.bias", bias));
    CHECK(with("mtp.fc.weight", 1) == named("mtp.fc.weight"));
    CHECK(with(layer + "rotary_emb.inv_freq", 1) == "");
    CHECK(with("model.rotary_emb.inv_freq", 1) == "");
}

TEST_CASE("a norm of queries or keys that the files lack is missed by name", "[checkpoint_reader]") {
    const TempDir directory;
    directory.write("config.json", tiny_config("qwen3").dump());
    const std::string norm = "model.layers.1.self_attn.q_norm.weight";
    std::vector<TensorSpec> specs = test::weight_specs(read_model_config(directory.path()), "F32");
    REQUIRE(std::erase_if(specs, [&](const TensorSpec& spec) { return spec.name == norm; }) == 1);
    test::write_tensors(directory / "model.safetensors", specs);
    const ModelFiles files(directory.path());
    CHECK(error_of([&] { files.dtype(norm); }) == concat(directory.path().string(), ": the weights have no tensor ",
                                                         norm, ", which a qwen3 model with this config.json needs"));
}

TEST_CASE("a model may be links into a cache, as Hugging Face's own folders are", "[checkpoint]") {
    const TempDir model, snapshot;
    test::write_tiny_model(model, test::tiny_config(), "F32", true);
    for (const char* name : {"config.json", "model.safetensors.index.json", "model-00001-of-00002.safetensors",
                             "model-00002-of-00002.safetensors"}) {
        std::filesystem::rename(model / name, model / concat("blob of ", name));
        std::filesystem::create_symlink(model / concat("blob of ", name), snapshot / name);
    }
    const ModelFiles checkpoint(snapshot.path());
    std::vector<float> values(11 * 8);
    checkpoint.read("model.embed_tokens.weight", {values.data(), 11, 8});
    CHECK(values == test::some_values(11 * 8, 1));
}
