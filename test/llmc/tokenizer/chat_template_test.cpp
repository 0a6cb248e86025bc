#include "llmc/tokenizer/chat_template.h"

#include <fstream>

#include "llmc/core/error.h"
#include "llmc/tokenizer/tokenizer.h"
#include "test/catch.h"
#include "test/llmc/tokenizer/model_directory.h"

using namespace llmc;
using Catch::Matchers::ContainsSubstring;

TEST_CASE("templates are known by name", "[chat_template]") {
    CHECK(ChatTemplate::named("none").prompt("2+2?") == "2+2?");
    CHECK(ChatTemplate::named("none").prompt("2+2?", "Be brief.") == "Be brief.\n\n2+2?");
    CHECK(
        ChatTemplate::named("alpaca").prompt("2+2?") ==
        "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
        "### Instruction:\n2+2?\n\n### Response:\n");
    CHECK(ChatTemplate::named("zephyr").prompt("2+2?", "Be brief.") ==
          "<|system|>\nBe brief.</s>\n<|user|>\n2+2?</s>\n<|assistant|>\n");
    CHECK(ChatTemplate::named("llama2").prompt(" 2+2?\n") == "<s>[INST] 2+2? [/INST]");
    for (const std::string& name : ChatTemplate::names()) {
        const ChatTemplate t = ChatTemplate::named(name);
        CHECK(t.name() == name);
        CHECK_THAT(t.prompt("2+2?"), ContainsSubstring("2+2?"));
        CHECK_THAT(t.prompt("2+2?", "Be brief."), ContainsSubstring("Be brief."));
        CHECK(t.apply("2+2?", "4") == std::pair(t.prompt("2+2?"), "4" + t.end_of_turn()));
        const std::vector<Message> messages = {{"system", "Be brief."}, {"user", "2+2?"}, {"assistant", "4"}};
        const std::vector<Turn> turns = t.lay_out(messages);
        REQUIRE(turns.size() == 1);
        CHECK(turns[0].source == t.prompt("2+2?", "Be brief."));
        CHECK(turns[0].target == "4" + t.end_of_turn());
    }
    CHECK_THROWS_AS(ChatTemplate::named("llama9"), UsageError);
    CHECK_THROWS_WITH(ChatTemplate::named("llama9"),
                      ContainsSubstring("llama9") && ContainsSubstring("chatml, llama2"));
}

TEST_CASE("a model's template is found in its files", "[chat_template]") {
    const std::string phi3 = "{{ '<|user|>' + message['content'] + '<|end|>' }}";
    ModelDirectory model;
    CHECK_THROWS_WITH(ChatTemplate::of_model(model.path()), ContainsSubstring("has no chat template"));
    model.write("tokenizer_config.json", {{"chat_template", phi3}});
    CHECK(ChatTemplate::of_model(model.path()).name() == "phi3");
    model.write("tokenizer_config.json",
                {{"chat_template",
                  {{{"name", "tool_use"}, {"template", "{{ tools }}"}}, {{"name", "default"}, {"template", phi3}}}}});
    CHECK(ChatTemplate::of_model(model.path()).name() == "phi3");
    model.write("tokenizer_config.json", {{"chat_template", {{{"name", "rag"}, {"template", phi3}}}}});
    CHECK_THROWS_WITH(ChatTemplate::of_model(model.path()), ContainsSubstring("\"default\""));
    // chat_template.jinja comes first.
    std::ofstream(model.path() / "chat_template.jinja") << "<|im_start|>";
    CHECK(ChatTemplate::of_model(model.path()).name() == "chatml");
    for (const char* unknown :
         {"{{ '<start_of_turn>user' }}", "<|im_start|>user<|im_sep|>", "", "[SYSTEM_PROMPT] [INST]"}) {
        std::ofstream(model.path() / "chat_template.jinja") << unknown;
        CHECK_THROWS_WITH(ChatTemplate::of_model(model.path()), ContainsSubstring("chat_template.jinja") &&
                                                                    ContainsSubstring("no known family") &&
                                                                    ContainsSubstring("--template"));
    }
}

TEST_CASE("a note says what a model's template does and its family's does not", "[chat_template]") {
    const auto note = [](const std::string& more) {
        return ChatTemplate::recognise("{{ '<|im_start|>' }}" + more, "here", "", "").note();
    };
    CHECK(note("").empty());
    CHECK(note("{{ strftime_now('%d %b %Y') }}") ==
          "here: the model's chat template uses today's date (strftime_now), which is not supported; its texts "
          "here may differ from transformers'");
    CHECK_THAT(note("{{ '<think>' }}"), ContainsSubstring("uses the model's reasoning (<think>), which"));
    CHECK_THAT(note("{{ '<think>' + strftime_now() }}"),
               ContainsSubstring("uses today's date (strftime_now) and the model's reasoning (<think>), which"));
    for (const std::string& name : ChatTemplate::names()) CHECK(ChatTemplate::named(name).note().empty());
}
