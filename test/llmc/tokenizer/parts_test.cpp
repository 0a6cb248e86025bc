// Every part of a tokenizer.json, alone and with others, against Hugging Face's tokenizers: the ids, and where in the
// text each token lies (dev/reference/make_tokenizer_parts_golden.py).
#include <cstdlib>
#include <fstream>

#include "llmc/io/file_io.h"
#include "llmc/io/json.h"
#include "llmc/tokenizer/tokenizer.h"
#include "test/catch.h"
#include "test/llmc/tokenizer/model_directory.h"

using namespace llmc;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

// begin, end, begin, end, ..
std::vector<size_t> flat(const std::vector<TextRange>& ranges) {
    std::vector<size_t> ends;
    for (const auto& [begin, end] : ranges) ends.insert(ends.end(), {begin, end});
    return ends;
}

}  // namespace

TEST_CASE("ids and ranges of every part of a tokenizer equal Hugging Face's", "[tokenizer]") {
    const json golden = read_json("test/data/tokenizer/parts.json");
    CHECK(golden["cases"].size() > 90);
    for (const json& expected : golden["cases"]) {
        json tree = golden["models"][expected["model"].get<std::string>()];
        for (const auto& [key, value] : expected["change"].items()) {
            if (key == "model") {
                tree[key].update(value);
            } else {
                tree[key] = value;
            }
        }
        const ModelDirectory model;
        model.write("tokenizer.json", tree);
        const auto tokenizer = Tokenizer::load(model.path());
        INFO(expected["name"]);
        for (size_t i = 0; i < golden["texts"].size(); ++i) {
            const std::string text = golden["texts"][i];
            INFO(json(text).dump());
            const Encoding encoding = tokenizer->encode_with_ranges(text);
            CHECK(tokenizer->encode(text) == encoding.ids);
            CHECK(encoding.ids == expected["ids"][i].get<std::vector<int32_t>>());
            if (!expected.contains("ranges")) continue;
            CHECK(flat(encoding.ranges) == expected["ranges"][i].get<std::vector<size_t>>());
        }
    }
}

TEST_CASE("a tokenizer.model alone gives SentencePiece's own ids", "[tokenizer]") {
    const std::string model = read_file("test/data/tokenizer/sentencepiece/tokenizer.model");
    const json golden = read_json("test/data/tokenizer/parts.json");
    for (const json& expected : golden["sentencepiece"]) {
        const auto more = expected["more"].get<std::vector<uint8_t>>();
        INFO(expected["more"].dump());
        const ModelDirectory directory;
        directory.write_bytes("tokenizer.model", model + std::string(more.begin(), more.end()));
        const auto tokenizer = Tokenizer::load(directory.path());
        for (size_t i = 0; i < expected["texts"].size(); ++i) {
            const std::string text = expected["texts"][i];
            INFO(json(text).dump());
            const Encoding encoding = tokenizer->encode_with_ranges(text);
            CHECK(encoding.ids == expected["ids"][i].get<std::vector<int32_t>>());
            CHECK(encoding.ids == tokenizer->encode(text));
        }
    }
    // LLaMA's file and transformers' tokenizer agree that a blank in front is one more.
    const ModelDirectory directory;
    directory.write_bytes("tokenizer.model", model);
    const auto tokenizer = Tokenizer::load(directory.path());
    CHECK(flat(tokenizer->encode_with_ranges(" the").ranges) == std::vector<size_t>{0, 1, 0, 4});
    CHECK(tokenizer->encode("").empty());
}

TEST_CASE("ids of the shared tokenizer cases are those expected", "[tokenizer]") {
    const char* folder = std::getenv("QUAFF_CASES");
    if (!folder) {
        WARN("skipped: QUAFF_CASES names no folder of cases");
        return;
    }
    const fs::path data = fs::path(folder) / "data";
    std::ifstream cases(data / "expected.jsonl");
    int tried = 0;
    for (std::string line; std::getline(cases, line);) {
        const json expected = json::parse(line);
        if (expected["verb"] != "tokenize") continue;
        ++tried;
        INFO(expected["name"]);
        const auto tokenizer = Tokenizer::load(data / expected["model"].get<std::string>());
        std::ifstream texts(data / expected["data"][0].get<std::string>());
        size_t i = 0;
        for (std::string text; std::getline(texts, text); ++i) {
            CHECK(tokenizer->encode(text) == expected["ids"][i].get<std::vector<int32_t>>());
        }
        CHECK(i == expected["ids"].size());
    }
    CHECK(tried > 0);
}
