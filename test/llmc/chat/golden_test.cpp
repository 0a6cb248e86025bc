// Texts, ids and losses that transformers computed (dev/reference/make_tokenizer_golden.py).
#include <filesystem>
#include <nlohmann/json.hpp>

#include "llmc/chat/chat_encoder.h"
#include "llmc/io/json.h"
#include "test/catch.h"
#include "test/llmc/chat/conversations.h"

using namespace llmc;
using nlohmann::json;

namespace {

const std::filesystem::path kData = "test/data/tokenizer";

ChatTemplate template_of(const json& config) {
    TemplateContext context;
    for (const char* name : {"bos_token", "eos_token"})
        if (config.contains(name)) context.special_tokens[name] = config[name].get<std::string>();
    return test::jinja_template(config["chat_template"], context);
}

Conversation of(const std::vector<std::pair<const char*, json>>& messages) {
    Conversation said;
    for (const auto& [role, content] : messages)
        said.messages.push_back({{"role", role}, {"content", content.get<std::string>()}});
    return said;
}

std::string text_of(const ChatTemplate& chat_template, const Conversation& said, bool prompt) {
    return chat_template.render(chat_template.variables(said, prompt)).text;
}

}  // namespace

TEST_CASE("texts and prompts equal what transformers renders with the models' own templates", "[chat]") {
    const json golden = read_json(kData / "chat_templates.json");
    CHECK(golden.size() == 13);
    for (const json& expected : golden) {
        INFO(expected["name"]);
        const ChatTemplate chat_template = template_of(expected["config"]);
        const json &user = expected["user"], &system = expected["system"];
        CHECK(text_of(chat_template, of({{"user", user}}), true) == expected["prompt"].get<std::string>());
        CHECK(text_of(chat_template, of({{"user", user}, {"assistant", "ANSWER"}}), false) ==
              expected["conversation"].get<std::string>());
        if (!expected["prompt_with_system"].is_null())
            CHECK(text_of(chat_template, of({{"system", system}, {"user", user}}), true) ==
                  expected["prompt_with_system"].get<std::string>());
        std::vector<std::pair<const char*, json>> turns = {
            {"user", user}, {"assistant", "ANSWER"}, {"user", expected["follow_up"]}, {"assistant", expected["last"]}};
        CHECK(text_of(chat_template, of(turns), false) == expected["turns"].get<std::string>());
        turns.insert(turns.begin(), {"system", system});
        if (!expected["turns_with_system"].is_null())
            CHECK(text_of(chat_template, of(turns), false) == expected["turns_with_system"].get<std::string>());
    }
}

// The templates of the golden mask mark what the assistant says; those that are used here do not.
TEST_CASE("conversations have the ids and the loss of transformers' assistant mask", "[chat]") {
    const json golden = read_json(kData / "conversations.json");
    CHECK(golden.size() == 4);
    for (const json& expected : golden) {
        const std::string name = expected["name"];
        const auto tokenizer = Tokenizer::load(kData / name);
        const json config = read_json(kData / name / "tokenizer_config.json");
        const json& bos = config["bos_token"];
        const ChatTemplate chat_template = template_of({{"chat_template", expected["chat_template"]},
                                                        {"bos_token", bos.is_object() ? bos["content"] : bos},
                                                        {"eos_token", expected["eos_token"]}});
        const ChatEncoder encoder(chat_template, *tokenizer, tokenizer->eos_id().value(), LossOn::all);
        for (const json& expected_case : expected["cases"]) {
            INFO(name << " " << expected_case["messages"]);
            Conversation said;
            said.messages = Json::parse(expected_case["messages"].dump());
            const EncodedConversation encoded = encoder.encode(said);
            // The golden ends with the last answer. What the template writes behind it has no loss.
            std::vector<int32_t> ids = encoded.ids;
            std::vector<int> mask(encoded.in_loss.begin(), encoded.in_loss.end());
            while (!mask.empty() && !mask.back()) {
                mask.pop_back();
                ids.pop_back();
            }
            CHECK(ids == expected_case["ids"].get<std::vector<int32_t>>());
            CHECK(mask == expected_case["mask"].get<std::vector<int>>());
        }
    }
}
