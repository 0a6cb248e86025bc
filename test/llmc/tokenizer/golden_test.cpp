// The ids and texts of golden.json, which Hugging Face's tokenizers computed (dev/reference/make_tokenizer_golden.py).
#include <nlohmann/json.hpp>

#include "llmc/json.h"
#include "llmc/tokenizer/tokenizer.h"
#include "test/catch.h"

using namespace llmc;

namespace {

const std::filesystem::path kData = "test/data/tokenizer";

std::vector<std::string> golden_texts(const nlohmann::json& golden) {
    std::vector<std::string> texts = golden["texts"];
    for (const auto& run : golden["runs"]) {
        std::string text;
        for (int i = 0; i < run[1]; ++i) text += run[0];
        texts.push_back(text);
    }
    return texts;
}

// decode() of the whole, and the same through a stream, of which every part must be whole characters.
std::string decode(const Tokenizer& tokenizer, const std::vector<int32_t>& ids, bool skip_special) {
    const std::string text = tokenizer.decode(ids, skip_special);
    TextStream stream(tokenizer, skip_special);
    std::string streamed;
    for (size_t i = 0; i <= ids.size(); ++i) {
        const std::string part = i < ids.size() ? stream.push(ids[i]) : stream.finish();
        CHECK_NOTHROW(tokenizer.encode(part));  // which refuses what is not UTF-8
        streamed += part;
    }
    CHECK(streamed == text);
    return text;
}

}  // namespace

TEST_CASE("token ids and decoded texts equal those of Hugging Face's tokenizers", "[tokenizer]") {
    const nlohmann::json golden = read_json(kData / "golden.json");
    const std::vector<std::string> texts = golden_texts(golden);
    CHECK(golden["tokenizers"].size() == 9);
    for (const auto& [name, expected] : golden["tokenizers"].items()) {
        const auto tokenizer = Tokenizer::load(kData / name);
        CHECK(tokenizer->vocab_size() == expected["vocab_size"]);
        REQUIRE(expected["ids"].size() == texts.size());
        for (size_t i = 0; i < texts.size(); ++i) {
            INFO(name << ": " << nlohmann::json(texts[i]).dump());
            CHECK(tokenizer->encode(texts[i]) == expected["ids"][i].get<std::vector<int32_t>>());
        }
        for (const auto& decoded : expected["decoded"]) {
            const std::vector<int32_t> ids = expected["ids"][decoded[0].get<size_t>()];
            INFO(name << ": " << decoded.dump());
            CHECK(decode(*tokenizer, ids, false) == decoded[1]);
            CHECK(decode(*tokenizer, ids, true) == decoded[2]);
        }
        for (const auto& list : expected["lists"]) {
            INFO(name << ": " << list.dump());
            CHECK(decode(*tokenizer, list[0], false) == list[1]);
            CHECK(decode(*tokenizer, list[0], true) == list[2]);
        }
    }
}
