// Ids, texts and prompts that Hugging Face's libraries computed (dev/reference/make_tokenizer_golden.py).
#include <fstream>
#include <nlohmann/json.hpp>

#include "llmc/data/examples.h"
#include "llmc/io/json.h"
#include "llmc/tokenizer/chat_template.h"
#include "llmc/tokenizer/tokenizer.h"
#include "llmc/tokenizer/utf8.h"
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

TEST_CASE("prompts equal what transformers renders with the models' own templates", "[tokenizer][chat_template]") {
    const json golden = read_json(kData / "chat_templates.json");
    CHECK(golden.size() == 13);
    for (const json& expected : golden) {
        const json& config = expected["config"];
        INFO(expected["name"]);
        const std::string jinja = config["chat_template"];
        const ChatTemplate recognised =
            ChatTemplate::recognise(jinja, "tokenizer_config.json", config.value("bos_token", ""), config["eos_token"]);
        CHECK(recognised.name() == expected["family"].get<std::string>());
        const std::string prompt = recognised.prompt(expected["user"].get<std::string>());
        CHECK(prompt == expected["prompt"].get<std::string>());
        if (!expected["prompt_with_system"].is_null()) {
            CHECK(recognised.prompt(expected["user"].get<std::string>(), expected["system"].get<std::string>()) ==
                  expected["prompt_with_system"].get<std::string>());
        }
        // The whole conversation, but for the space some templates put in front of the answer: the tokenizers of these
        // models put one in front of every text that is encoded by itself.
        std::string conversation = expected["conversation"];
        REQUIRE(conversation.starts_with(prompt));
        conversation.erase(0, prompt.size() + (conversation[prompt.size()] == ' '));
        CHECK(conversation.starts_with("ANSWER" + recognised.end_of_turn()));
        const auto [source, target] = recognised.apply(expected["user"].get<std::string>(), "ANSWER");
        CHECK(source == prompt);
        CHECK(target == "ANSWER" + recognised.end_of_turn());
    }
}

TEST_CASE("conversations of several turns are laid out as transformers renders them", "[tokenizer][chat_template]") {
    for (const json& expected : read_json(kData / "chat_templates.json")) {
        const json& config = expected["config"];
        INFO(expected["name"]);
        const ChatTemplate recognised =
            ChatTemplate::recognise(config["chat_template"].get<std::string>(), "tokenizer_config.json",
                                    config.value("bos_token", ""), config["eos_token"]);
        const std::vector<Message> spoken = {{"user", expected["user"]},
                                             {"assistant", "ANSWER"},
                                             {"user", expected["follow_up"]},
                                             {"assistant", expected["last"]}};
        for (const bool with_system : {false, true}) {
            const json& rendered = expected[with_system ? "turns_with_system" : "turns"];
            if (rendered.is_null()) continue;
            std::vector<Message> messages = spoken;
            if (with_system) messages.insert(messages.begin(), {"system", expected["system"]});
            std::string left = rendered;
            const auto take = [&](const std::string& text) {
                INFO(left);
                REQUIRE(left.starts_with(text));
                left.erase(0, text.size());
            };
            const std::vector<Turn> turns = recognised.lay_out(messages);
            REQUIRE(turns.size() == 2);
            for (const Turn& turn : turns) {
                take(turn.source);
                if (left.starts_with(' ')) left.erase(0, 1);  // as above
                take(turn.target);
            }
            // Behind the last answer stand a newline, a space or what ends the text, in whose place EOS is appended.
            const std::string eos = config["eos_token"];
            CHECK((left.empty() || left == "\n" || left == " " || left == "\n" + eos));
        }
    }
}

TEST_CASE("conversations have the ids and the loss of transformers' assistant mask", "[tokenizer][chat_template]") {
    const json golden = read_json(kData / "conversations.json");
    CHECK(golden.size() == 4);
    for (const json& expected : golden) {
        const std::string name = expected["name"], eos = expected["eos_token"];
        INFO(name);
        const auto tokenizer = Tokenizer::load(kData / name);
        TextEncoding encoding;
        encoding.encode = [&](std::string_view text) { return tokenizer->encode(text); };
        encoding.bos_id = tokenizer->bos_id().value_or(-1);
        encoding.eos_id = tokenizer->token_id(eos).value();
        encoding.adds_bos = tokenizer->adds_bos();
        const json config = read_json(kData / name / "tokenizer_config.json");
        const json& bos = config["bos_token"];
        const ChatTemplate recognised = ChatTemplate::recognise(expected["chat_template"].get<std::string>(), "golden",
                                                                bos.is_object() ? bos["content"] : bos, eos);
        const auto lay_out = [&](std::span<const Message> messages) { return recognised.lay_out(messages); };
        for (const json& expected_case : expected["cases"]) {
            const test::TempDir folder;
            const auto path = folder.write("chat.jsonl", json{{"messages", expected_case["messages"]}}.dump());
            const auto read = [&](bool train_on_source) {
                ExampleOptions options;
                options.train_on_source = train_on_source;
                return read_examples(path, encoding, options, nullptr, lay_out).examples.at(0);
            };
            std::vector<int32_t> ids = expected_case["ids"], labels;
            const std::vector<int> mask = expected_case["mask"];
            for (size_t i = 0; i < ids.size(); ++i) labels.push_back(mask[i] ? ids[i] : kIgnoreLabel);
            if (ids.back() != encoding.eos_id) {  // Phi-3's turns end in a different token than its texts
                ids.push_back(encoding.eos_id);
                labels.push_back(encoding.eos_id);
            }
            const Example example = read(false);
            CHECK(example.input_ids == ids);
            CHECK(example.labels == labels);
            labels = ids;
            labels.front() = kIgnoreLabel;
            CHECK(read(true).labels == labels);
        }
    }
}
