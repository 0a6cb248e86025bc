// Ids and texts that Hugging Face's libraries computed (dev/reference/make_tokenizer_golden.py).
#include <fstream>
#include <nlohmann/json.hpp>

#include "llmc/core/utf8.h"
#include "llmc/io/json.h"
#include "llmc/tokenizer/tokenizer.h"
#include "test/catch.h"
#include "test/files.h"

using namespace llmc;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

const fs::path kData = "test/data/tokenizer";

std::vector<std::string> golden_texts(const json& golden) {
    std::vector<std::string> texts = golden["texts"];
    for (const json& run : golden["runs"]) {
        std::string text;
        for (int i = 0; i < run[1]; ++i) text += run[0];
        texts.push_back(text);
    }
    return texts;
}

// decode() of all ids, and the same through a stream, every part of which must be whole characters.
std::string decode(const Tokenizer& tokenizer, const std::vector<int32_t>& ids, bool skip_special) {
    const std::string text = tokenizer.decode(ids, skip_special);
    TextStream stream(tokenizer, skip_special);
    std::string streamed;
    bool whole_characters = true;
    for (size_t i = 0; i <= ids.size(); ++i) {
        const std::string part = i < ids.size() ? stream.push(ids[i]) : stream.finish();
        whole_characters &= find_invalid_utf8(part) == std::string::npos;
        streamed += part;
    }
    CHECK(whole_characters);
    CHECK(streamed == text);
    return text;
}

std::vector<int32_t> encode_with_special(const Tokenizer& tokenizer, const std::string& text) {
    std::vector<int32_t> ids = tokenizer.encode(text);
    if (tokenizer.adds_bos()) ids.insert(ids.begin(), tokenizer.bos_id().value());
    if (tokenizer.adds_eos()) ids.push_back(tokenizer.eos_id().value());
    return ids;
}

// 64-bit FNV-1a of the ids, each as four bytes, little-endian.
class Checksum {
  public:
    void add(const std::vector<int32_t>& ids) {
        for (const int32_t id : ids) {
            for (int byte = 0; byte < 4; ++byte) value_ = (value_ ^ (id >> 8 * byte & 0xFF)) * 0x100000001B3;
        }
    }
    std::string hex() const {
        char text[17];
        std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value_));
        return text;
    }

  private:
    uint64_t value_ = 0xCBF29CE484222325;
};

}  // namespace

TEST_CASE("token ids and decoded texts equal those of Hugging Face's tokenizers", "[tokenizer]") {
    const json golden = read_json(kData / "golden.json");
    const std::vector<std::string> texts = golden_texts(golden);
    CHECK(golden["tokenizers"].size() == 9);
    for (const auto& [name, expected] : golden["tokenizers"].items()) {
        const auto tokenizer = Tokenizer::load(kData / name);
        INFO(name);
        CHECK(tokenizer->vocab_size() == expected["vocab_size"]);
        CHECK(encode_with_special(*tokenizer, "Hi") == expected["with_special"].get<std::vector<int32_t>>());
        REQUIRE(expected["ids"].size() == texts.size());
        for (size_t i = 0; i < texts.size(); ++i) {
            INFO(json(texts[i]).dump());
            CHECK(tokenizer->encode(texts[i]) == expected["ids"][i].get<std::vector<int32_t>>());
        }
        for (const json& decoded : expected["decoded"]) {
            const std::vector<int32_t> ids = expected["ids"][decoded[0].get<size_t>()];
            INFO(decoded.dump());
            CHECK(decode(*tokenizer, ids, false) == decoded[1].get<std::string>());
            CHECK(decode(*tokenizer, ids, true) == decoded[2].get<std::string>());
        }
        for (const json& list : expected["lists"]) {
            INFO(list.dump());
            CHECK(decode(*tokenizer, list[0], false) == list[1].get<std::string>());
            CHECK(decode(*tokenizer, list[0], true) == list[2].get<std::string>());
        }
    }
}

TEST_CASE("byte-level tokenizers give every text back", "[tokenizer]") {
    for (const char* name : {"smollm2", "llama3"}) {
        const auto tokenizer = Tokenizer::load(kData / name);
        for (const std::string& text : golden_texts(read_json(kData / "golden.json"))) {
            INFO(name << ": " << json(text).dump());
            CHECK(decode(*tokenizer, tokenizer->encode(text), false) == text);
        }
    }
}

TEST_CASE("the real LLaMA 2 tokenizer.model gives real texts Hugging Face's ids", "[tokenizer]") {
    const fs::path shared = "../shared/reference";
    if (!fs::exists(shared / "llama2_tokenizer.model")) {
        WARN("skipped: " << shared << " does not hold llama2_tokenizer.model");
        return;
    }
    const test::TempDir directory;
    fs::copy_file(shared / "llama2_tokenizer.model", directory / "tokenizer.model");
    const auto tokenizer = Tokenizer::load(directory.path());
    CHECK(tokenizer->vocab_size() == 32000);
    CHECK(tokenizer->adds_bos());
    CHECK(tokenizer->bos_id() == 1);
    CHECK(tokenizer->eos_id() == 2);
    const json golden = read_json(kData / "llama2.json");
    for (const auto& [name, expected] : golden.items()) {
        std::ifstream file(shared / name);
        Checksum checksum;
        int64_t n_tokens = 0;
        for (std::string line; std::getline(file, line);) {
            const std::vector<int32_t> ids = tokenizer->encode(line);
            checksum.add(ids);
            n_tokens += static_cast<int64_t>(ids.size());
            CHECK(decode(*tokenizer, ids, true) == line);
        }
        INFO(name);
        CHECK(n_tokens == expected["tokens"].get<int64_t>());
        CHECK(checksum.hex() == expected["fnv1a"].get<std::string>());
    }
}
