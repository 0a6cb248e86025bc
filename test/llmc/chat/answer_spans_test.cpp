#include "llmc/chat/answer_spans.h"

#include "llmc/core/error.h"
#include "test/catch.h"
#include "test/files.h"
#include "test/llmc/chat/conversations.h"

using namespace llmc;
using Catch::Matchers::ContainsSubstring;
using test::conversation;
using test::error_of;
using test::jinja_template;

namespace {

// Here a special token is anything in <| |>.
bool holds_special(std::string_view text) {
    const size_t begin = text.find("<|");
    return begin != text.npos && text.find("|>", begin) != text.npos;
}

// What stands where the answers are found.
std::vector<std::string> answers_in(const std::string& jinja, const Conversation& said) {
    const ChatTemplate chat_template = jinja_template(jinja, {{{"eos_token", "<|end|>"}}, nullptr, std::nullopt});
    Json variables = chat_template.variables(said, false);
    const Json before = variables;
    const std::string text = chat_template.render(variables).text;
    std::vector<size_t> places;
    for (size_t i = 0; i < said.messages.size(); ++i)
        if (said.messages[i]["role"] == "assistant") places.push_back(i);
    std::vector<std::string> found;
    for (const AnswerSpan& span : find_answers(chat_template, variables, text, places, holds_special))
        found.push_back(text.substr(span.begin, span.end - span.begin));
    CHECK(variables == before);
    return found;
}

std::string refusal(const std::string& jinja, const Conversation& said) {
    return error_of([&] { answers_in(jinja, said); });
}

using Found = std::vector<std::string>;

const Conversation kTwice =
    conversation({{"user", "One?"}, {"assistant", " Is one. \n"}, {"user", "One?"}, {"assistant", "Is one."}});

}  // namespace

TEST_CASE("an answer is what differs when it is replaced", "[chat]") {
    const std::string each = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>\n{% endfor %}";
    CHECK(answers_in(each, kTwice) == Found{" Is one. \n", "Is one."});
    CHECK(answers_in("{% for m in messages %}<|{{ m.role }}|>{{ m.content | trim }}<|end|>{% endfor %}", kTwice) ==
          Found{"Is one.", "Is one."});
    CHECK(answers_in("{% for m in messages %}<|{{ m.role }}|>{{ m.content.strip() ~ eos_token }}{% endfor %}",
                     kTwice) == Found{"Is one.", "Is one."});
    CHECK(answers_in(each, conversation({{"user", "?"}, {"assistant", ""}})) == Found{""});
    // The same words in front of it, behind it, and in other messages.
    CHECK(answers_in("{% for m in messages %}yes yes{{ m.content }}yes yes\n{% endfor %}",
                     conversation({{"user", "yes"}, {"assistant", "yes yes"}})) == Found{"yes yes"});
    CHECK(answers_in(each, conversation({{"user", "é"}, {"assistant", "ëê"}})) == Found{"ëê"});
    CHECK(answers_in("{{ messages | tojson }}", conversation({{"user", "u"}, {"assistant", "\"a\"\n"}})) ==
          Found{R"(\"a\"\n)"});
    // The template may look into it.
    CHECK(answers_in("{% for m in messages %}{{ m.content.split('</think>')[-1].lstrip('\\n') }}<|end|>{% endfor %}",
                     conversation({{"user", "u"}, {"assistant", "<think>\nHm.\n</think>\n\nYes."}})) == Found{"Yes."});
}

TEST_CASE("letters that could replace an answer may stand in it", "[chat]") {
    const Conversation said =
        conversation({{"user", "ꀀ"}, {"assistant", "ꀀꀁ"}, {"user", "u"}, {"assistant", "ꀂꀀ"}});
    CHECK(answers_in("{% for m in messages %}{{ m.content }}{% endfor %}", said) == Found{"ꀀꀁ", "ꀂꀀ"});
}

TEST_CASE("reasoning and calls belong to the answer", "[chat]") {
    Conversation said = conversation({{"user", "2 + 2?"}, {"assistant", "4"}});
    said.messages[1]["reasoning_content"] = "Two and two.";
    CHECK(answers_in(test::kChatml, said) == Found{"<think>\nTwo and two.\n</think>\n\n4"});
    // Where the template writes its mark without any reasoning, it is the prompt's.
    CHECK(answers_in("{% for m in messages %}<|{{ m.role }}|><think>{{ m.reasoning_content }}</think>{{ m.content }}"
                     "<|end|>{% endfor %}",
                     said) == Found{"Two and two.</think>4"});
    said.messages[1] = {{"role", "assistant"},
                        {"content", "Let me see."},
                        {"tool_calls", Json::array({{{"function", {{"name", "f"}, {"arguments", {{"x", 1}}}}}}})}};
    said.messages.push_back({{"role", "tool"}, {"content", "7"}});
    said.messages.push_back({{"role", "assistant"}, {"content", "It is 7."}});
    CHECK(answers_in(test::kChatml, said) == Found{"Let me see.<call>f {\"x\": 1}</call>", "It is 7."});
    said.messages[1].erase("content");
    CHECK(answers_in(test::kChatml, said) == Found{"<call>f {\"x\": 1}</call>", "It is 7."});
}

TEST_CASE("calls are found where the template wants them before a tool's result", "[chat]") {
    Conversation said = conversation({{"user", "?"}, {"assistant", ""}, {"tool", "7"}, {"assistant", "It is 7."}});
    said.messages[1]["tool_calls"] = Json::array({{{"function", {{"name", "find"}, {"arguments", {{"x", "here"}}}}}}});
    const std::string strict =
        "{% set ns = namespace(called=false) %}{% for m in messages %}<|{{ m.role }}|>"
        "{% if m.tool_calls %}[{{ m.tool_calls[0].function.name }} {{ m.tool_calls[0].function.arguments | tojson }}]"
        "{% set ns.called = true %}{% else %}"
        "{% if m.role == 'tool' and not ns.called %}{{ raise_exception('Nobody called.') }}{% endif %}"
        "{{ m.content }}{% endif %}<|end|>{% endfor %}";
    // It stops where the arguments differ; the end of the turn is behind.
    CHECK(answers_in(strict, said) == Found{"[find {\"x\": \"here", "It is 7."});
    // And where the result is written in another way. It begins within the token that differs.
    const std::string lenient =
        "{% set ns = namespace(name='nobody') %}{% for m in messages %}"
        "{% if m.tool_calls %}<|call|>{{ m.tool_calls[0].function.name }} {{ m.tool_calls[0].function.arguments | "
        "tojson }}"
        "{% set ns.name = m.tool_calls[0].function.name %}"
        "{% elif m.role == 'tool' %}<|result|>{{ ns.name }}: {{ m.content }}"
        "{% else %}<|{{ m.role }}|>{{ m.content }}{% endif %}<|end|>{% endfor %}";
    CHECK(answers_in(lenient, said) == Found{"call|>find {\"x\": \"here", "It is 7."});
}

TEST_CASE("an answer that cannot be placed is refused", "[chat]") {
    const std::string place = "where message 2 stands in the template's text cannot be told: ";
    CHECK_THAT(refusal("{{ messages[0].content }}", kTwice),
               ContainsSubstring(place + "the template does not write what it says; mark what the assistant says in "
                                         "the template with {% generation %}, or choose another template"));
    CHECK_THAT(refusal("{% for m in messages %}{{ m.content }}{{ m.content }}{% endfor %}", kTwice),
               ContainsSubstring(place + "the template writes it more than once"));
    CHECK_THAT(refusal("{% for m in messages | reverse %}{{ m.content }}\n{% endfor %}", kTwice),
               ContainsSubstring("message 4") && ContainsSubstring("before or in an earlier answer"));
    CHECK_THAT(refusal("{% for m in messages %}{{ m.content if m.content.isascii is defined else '' }}{% endfor %}"
                       "{% if 'Is' not in messages[1].content %}{{ raise_exception('Say it is.') }}{% endif %}",
                       kTwice),
               ContainsSubstring("with other words in its place, the template refuses the conversation") &&
                   ContainsSubstring("Say it is."));
    // Text around it that depends on it.
    CHECK_THAT(refusal("{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}"
                       "{{ '<|short|>' if messages[1].content | length < 5 else '' }}",
                       conversation({{"user", "u"}, {"assistant", "long enough"}})),
               ContainsSubstring(place));
    CHECK_THAT(refusal("<|{{ messages[1].content | length }}|>{% for m in messages %}<|{{ m.role }}|>{{ m.content }}"
                       "{% endfor %}",
                       conversation({{"user", "u"}, {"assistant", "long enough"}})),
               ContainsSubstring(place + "the template's text before the message in front of it depends on it"));
}
