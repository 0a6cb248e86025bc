#include "llmc/chat/chat_template.h"

#include "llmc/chat/named_layouts.h"
#include "llmc/core/error.h"
#include "test/catch.h"
#include "test/files.h"
#include "test/llmc/chat/conversations.h"

using namespace llmc;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::EndsWith;
using test::conversation;
using test::error_of;
using test::jinja_template;

namespace {

std::string text_of(const ChatTemplate& chat_template, const Conversation& said, bool prompt = false) {
    return chat_template.render(chat_template.variables(said, prompt)).text;
}

std::string prompt_of(const char* layout, const Conversation& said) {
    return text_of(ChatTemplate::named(layout, {}), said, /*prompt=*/true);
}

}  // namespace

TEST_CASE("named layouts write what their models know", "[chat]") {
    const Conversation asked = conversation({{"user", "2+2?"}}),
                       briefly = conversation({{"system", "Be brief."}, {"user", "2+2?"}}),
                       twice = conversation({{"system", " Be brief. "},
                                             {"user", " 2+2?\n"},
                                             {"assistant", " 4 "},
                                             {"user", "3+3?"},
                                             {"assistant", "6"}});
    const std::string alpaca =
        "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
        "### Instruction:\n2+2?\n\n### Response:\n";
    CHECK(prompt_of("alpaca", asked) == alpaca);
    CHECK(prompt_of("alpaca", briefly) == "Be brief.\n\n### Instruction:\n2+2?\n\n### Response:\n");
    CHECK(prompt_of("chatml", briefly) ==
          "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n2+2?<|im_end|>\n<|im_start|>assistant\n");
    CHECK(prompt_of("zephyr", briefly) == "<|system|>\nBe brief.</s>\n<|user|>\n2+2?</s>\n<|assistant|>\n");
    CHECK(prompt_of("phi3", asked) == "<|user|>\n2+2?<|end|>\n<|assistant|>\n");
    CHECK(prompt_of("llama2", briefly) == "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\n2+2? [/INST]");
    CHECK(prompt_of("llama3", asked) ==
          "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n2+2?<|eot_id|><|start_header_id|>assistant"
          "<|end_header_id|>\n\n");
    CHECK(prompt_of("mistral", briefly) == "<s>[INST] Be brief.\n\n2+2? [/INST]");
    CHECK(text_of(ChatTemplate::named("llama2", {}), twice) ==
          "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\n2+2? [/INST] 4 </s><s>[INST] 3+3? [/INST] 6 </s>");
    CHECK(text_of(ChatTemplate::named("phi3", {}), twice) ==
          "<|system|>\n Be brief. <|end|>\n<|user|>\n 2+2?\n<|end|>\n<|assistant|>\n 4 <|end|>\n<|user|>\n3+3?<|end|>\n"
          "<|assistant|>\n6<|end|>");
}

TEST_CASE("alpaca has a part for the input of an instruction", "[chat]") {
    Conversation said = conversation({{"user", "Add.\n2, 3"}, {"assistant", "5"}});
    said.messages[0]["instruction"] = "Add.";
    said.messages[0]["input"] = "2, 3";
    const std::string before =
        "Below is an instruction that describes a task, paired with an input that provides further context. Write a "
        "response that appropriately completes the request.\n\n### Instruction:\nAdd.\n\n### Input:\n2, 3\n\n"
        "### Response:\n";
    const ChatTemplate alpaca = ChatTemplate::named("alpaca", {});
    CHECK(text_of(alpaca, said) == before + "5");
    CHECK(text_of(ChatTemplate::named("zephyr", {}), said) == "<|user|>\nAdd.\n2, 3</s>\n<|assistant|>\n5</s>");
}

TEST_CASE("in alpaca's layout every turn of the assistant ends as the last one does", "[chat]") {
    const Conversation said = conversation({{"user", "a"}, {"assistant", "b"}, {"user", "c"}, {"assistant", "d"}});
    TemplateContext context;
    context.special_tokens = {{"eos_token", "</s>"}};
    CHECK_THAT(text_of(ChatTemplate::named("alpaca", context), said),
               EndsWith("### Response:\nb</s>\n\n### Instruction:\nc\n\n### Response:\nd"));
}

TEST_CASE("named layouts refuse what they have no place for", "[chat]") {
    for (const NamedLayout& layout : named_layouts()) {
        INFO(layout.name);
        const ChatTemplate chat_template = ChatTemplate::named(layout.name, {});
        CHECK(chat_template.is_layout());
        Conversation said = conversation({{"user", "u"}, {"assistant", "a"}});
        said.messages[0]["content"] =
            Json::array({{{"type", "text"}, {"text", "Two "}}, {{"type", "text"}, {"text", "parts"}}});
        CHECK_THAT(text_of(chat_template, said), ContainsSubstring("Two parts"));
        const auto refused = [&](const Conversation& other) {
            return error_of([&] { text_of(chat_template, other); });
        };
        CHECK_THAT(refused(conversation({{"tool", "t"}})), ContainsSubstring("layout"));
        Conversation calls = said;
        calls.messages[1]["tool_calls"] = Json::array({{{"name", "f"}}});
        CHECK_THAT(refused(calls), ContainsSubstring("no place for tool calls"));
        Conversation thinks = said;
        thinks.messages[1]["thinking"] = "Hm.";
        CHECK_THAT(refused(thinks), ContainsSubstring("no place for reasoning"));
        said.tools = Json::array({{{"name", "f"}}});
        CHECK_THAT(refused(said), ContainsSubstring("no place for tools"));
    }
    for (const char* strict : {"alpaca", "llama2", "mistral"})
        CHECK_THAT(error_of([&] {
                       prompt_of(strict, conversation({{"user", "u"}, {"user", "u"}}));
                   }),
                   ContainsSubstring("take turns"));
    CHECK_THROWS_AS(ChatTemplate::named("llama9", {}), UsageError);
    CHECK_THROWS_WITH(ChatTemplate::named("llama9", {}),
                      ContainsSubstring("llama9") && ContainsSubstring("chatml, llama2"));
}

TEST_CASE("a template is given what transformers gives it", "[chat]") {
    TemplateContext context;
    context.special_tokens = {{"bos_token", "<s>"}};
    context.date = jinja::Date{2026, 1, 31};
    Conversation said = conversation({{"user", "u"}, {"assistant", "a"}});
    const auto text = [&](const std::string& jinja) { return text_of(jinja_template(jinja, context), said); };
    CHECK(text("{{ bos_token }}{{ eos_token is defined }}{{ tools is none }}{{ documents is none }}") ==
          "<s>FalseTrueTrue");
    CHECK(text("{{ strftime_now('%Y-%m-%d') }}{{ add_generation_prompt }}") == "2026-01-31False");
    said.template_arguments = {{"enable_thinking", false}, {"bos_token", "<b>"}};
    CHECK(text("{{ enable_thinking }}{{ bos_token }}") == "False<b>");
    said.template_arguments = {{"messages", "other"}};
    CHECK(error_of([&] { text("{{ messages }}"); }) ==
          "the field \"chat_template_kwargs\" sets \"messages\", which the conversation itself decides; take it out");

    said.template_arguments = nullptr;
    said.messages[1]["reasoning"] = "Hm.";
    CHECK(text("{{ messages[1].reasoning_content }}{{ messages[1].thinking }}{{ messages[1].reasoning }}") ==
          "Hm.Hm.Hm.");
    CHECK(
        text("{{ messages[1] | tojson }}") ==
        R"({"thinking": "Hm.", "role": "assistant", "content": "a", "reasoning": "Hm.", "reasoning_content": "Hm."})");
    CHECK_FALSE(jinja_template("{{ date }}").uses_date());
    CHECK(jinja_template("{{ strftime_now('%Y') }}").uses_date());
}

TEST_CASE("an empty list of tools is none, whatever the run's are", "[chat]") {
    TemplateContext context;
    context.tools = Json::parse(R"([{"name": "f"}])");
    Conversation said = conversation({{"user", "u"}});
    const auto text = [&] { return text_of(jinja_template("{{ tools is none }}", context), said); };
    CHECK(text() == "False");
    said.tools = Json::array();
    CHECK(text() == "True");
}

TEST_CASE("of several templates, tools choose theirs", "[chat]") {
    TemplateContext context;
    const std::vector<TemplateText> texts = {{"default", "d", "plain"}, {"tool_use", "t", "{{ tools[0].name }}"}};
    Conversation said = conversation({{"user", "u"}});
    CHECK(text_of(ChatTemplate(texts, context), said) == "plain");
    said.tools = Json::array({{{"name", "weather"}}});
    CHECK(text_of(ChatTemplate(texts, context), said) == "weather");
    said.tools = nullptr;
    context.tools = Json::array({{{"name", "of the run"}}});
    CHECK(text_of(ChatTemplate(texts, context), said) == "of the run");
    CHECK(error_of([&] {
              text_of(ChatTemplate({{"rag", "r", "x"}}, {}), said);
          }) ==
          "none of the model's chat templates (rag) is called \"default\", which is wanted where there are no tools");
    CHECK(error_of([&] {
              ChatTemplate({texts[0], texts[0]}, {});
          }) == "d: two templates are called \"default\"; keep one of them");
}

TEST_CASE("a broken template is refused where it is used", "[chat]") {
    const ChatTemplate chat_template(
        {{"default", "model/chat_template.jinja", "fine"}, {"tool_use", "t.jinja", "{{ a"}}, {});
    Conversation said = conversation({{"user", "u"}});
    CHECK(text_of(chat_template, said) == "fine");
    said.tools = Json::parse(R"([{"name": "f"}])");
    CHECK_THAT(error_of([&] { text_of(chat_template, said); }), ContainsSubstring("t.jinja:1:"));
    CHECK_THAT(error_of([&] { text_of(jinja_template("a\n{{ raise_exception('No tools here.') }}"), said); }),
               ContainsSubstring("chat_template.jinja:2:") && ContainsSubstring("No tools here."));
}

TEST_CASE("what a template never writes is told", "[chat]") {
    const ChatTemplate plain = jinja_template("{% for m in messages %}{{ m.content }}{% endfor %}"),
                       rich = jinja_template(test::kChatml);
    Conversation said = conversation({{"user", "u"}, {"assistant", "a"}});
    const auto unheard = [&](const ChatTemplate& chat_template) {
        return chat_template.unheard(chat_template.variables(said, false));
    };
    CHECK(unheard(plain).empty());
    said.tools = Json::array({{{"name", "f"}}});
    said.messages[1]["tool_calls"] = Json::array({{{"name", "f"}}});
    said.messages[1]["thinking"] = "Hm.";
    CHECK(unheard(plain) == std::vector<std::string>{"tools", "tool_calls", "reasoning_content"});
    CHECK(unheard(rich).empty());
    said.tools = Json::array();
    said.messages[1]["tool_calls"] = Json::array();
    said.messages[1]["thinking"] = "";
    CHECK(unheard(plain).empty());
}
