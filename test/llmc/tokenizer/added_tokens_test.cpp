// Added tokens: what the configuration makes of special ones, and how long loading many of them takes.
#include <chrono>

#include "llmc/core/error.h"
#include "llmc/tokenizer/tokenizer.h"
#include "test/catch.h"
#include "test/llmc/tokenizer/model_directory.h"

using namespace llmc;
using nlohmann::json;

namespace {

constexpr const char* kSmallTokenizer = R"({
    "added_tokens": [{"id": 5, "content": "<s>", "special": true}, {"id": 6, "content": "</s>", "special": true}],
    "decoder": {"type": "Fuse"},
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "c": 2, "ab": 3, "abc": 4}, "merges": ["a b", "ab c"]}})";

}  // namespace

TEST_CASE("special tokens are text like any other if the configuration says so", "[tokenizer]") {
    ModelDirectory model;
    json tree = json::parse(kSmallTokenizer);
    for (const char* letter : {"<", ">", "s"}) tree["model"]["vocab"][letter] = tree["model"]["vocab"].size();
    for (json& token : tree["added_tokens"]) token["id"] = token["id"].get<int>() + 3;
    model.write("tokenizer.json", tree);
    const auto with_them = Tokenizer::load(model.path());
    CHECK(with_them->encode("a<s>b").size() == 3);
    model.write("tokenizer_config.json", {{"split_special_tokens", true}});
    CHECK(Tokenizer::load(model.path())->encode("a<s>b").size() == 5);
}

TEST_CASE("loading takes time in proportion to the added tokens", "[tokenizer]") {
    // Looking for each among all others would be 10^9 comparisons: half a minute.
    constexpr int kTokens = 30'000;
    json tree = json::parse(kSmallTokenizer);
    json decoder, names;
    for (int i = 0; i < kTokens; ++i) {
        const json token = {{"content", concat("<extra_", i, ">")}, {"special", true}};
        tree["added_tokens"].push_back(token);
        tree["added_tokens"].back()["id"] = 7 + i;
        decoder[std::to_string(7 + i)] = token;
        names.push_back(token["content"]);
    }
    ModelDirectory model;
    model.write("tokenizer.json", tree);
    model.write("tokenizer_config.json", {{"added_tokens_decoder", decoder}, {"additional_special_tokens", names}});
    const auto begin = std::chrono::steady_clock::now();
    const auto tokenizer = Tokenizer::load(model.path());
    CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(20));  // 0.3 s on an idle machine
    CHECK(tokenizer->vocab_size() == 7 + kTokens);
    CHECK(tokenizer->encode("<extra_0>ab<extra_29999>") == std::vector<int32_t>{7, 3, 7 + kTokens - 1});
}
