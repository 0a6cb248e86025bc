#include "llmc/chat/chat_template.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>
#include <vector>

#include "llmc/chat/named_layouts.h"
#include "llmc/core/error.h"
#include "llmc/core/words.h"

namespace llmc {
namespace {

constexpr std::array<const char*, 3> kReasoning = {"reasoning_content", "thinking", "reasoning"};

// Null if the message has no reasoning.
const Json* reasoning_of(const Json& message) {
    for (const char* name : kReasoning)
        if (const auto field = message.find(name); field != message.end() && !field->is_null()) return &*field;
    return nullptr;
}

// The message with its reasoning under the usual name and under the one that gpt-oss reads, as transformers passes it.
Json with_reasoning(const Json& message) {
    const Json* reasoning = reasoning_of(message);
    if (!reasoning) return message;
    Json all = Json::object();
    // Each name comes once, so that none has to be looked for.
    std::vector<std::pair<const std::string, Json>>& fields = all.get_ref<Json::object_t&>();
    const auto thinking = message.find("thinking");
    fields.emplace_back("thinking", thinking != message.end() ? *thinking : *reasoning);
    for (const auto& [name, value] : message.get_ref<const Json::object_t&>())
        if (name != "thinking") fields.emplace_back(name, value);
    if (!message.contains("reasoning_content")) fields.emplace_back("reasoning_content", *reasoning);
    return all;
}

// Whether the message has something in a field.
bool has(const Json& message, const char* name) {
    const auto field = message.find(name);
    return field != message.end() && !field->empty() && *field != "";
}

bool any_has(const Json& messages, const char* name) {
    return std::ranges::any_of(messages, [&](const Json& message) { return has(message, name); });
}

// A named layout would drop these without a word.
void require_plain(const Json& messages, const Json& tools) {
    const auto refuse = [](const char* what) {
        fail("a named layout has no place for ", what, "; take a template that has one, or leave them out of the data");
    };
    if (!tools.is_null() && !tools.empty()) refuse("tools");
    if (any_has(messages, "tool_calls")) refuse("tool calls");
    if (any_has(messages, "reasoning_content")) refuse("reasoning");
}

}  // namespace

ChatTemplate::ChatTemplate(const std::vector<TemplateText>& texts, TemplateContext context)
    : context_(std::move(context)) {
    require(!texts.empty(), "there is no chat template");
    for (const TemplateText& text : texts) {
        const auto [choice, is_new] = choices_.try_emplace(text.name);
        require(is_new, text.where, ": two templates are called \"", text.name, "\"; keep one of them");
        choice->second.text = text.jinja;
        try {
            choice->second.parsed = jinja::Template::parse(text.jinja, text.where);
        } catch (const Error& error) {
            choice->second.problem = error.what();
        }
        uses_date_ |= text.jinja.find("strftime_now") != text.jinja.npos;
    }
}

ChatTemplate ChatTemplate::named(std::string_view name, TemplateContext context) {
    const NamedLayout* layout = find_named_layout(name);
    if (!layout) {
        std::vector<std::string> names;
        for (const NamedLayout& known : named_layouts()) names.emplace_back(known.name);
        throw UsageError(concat("there is no layout called \"", name, "\"; choose one of ", join(names)));
    }
    ChatTemplate made({{"default", concat("layout ", name), jinja_of(*layout)}}, std::move(context));
    made.is_layout_ = true;
    return made;
}

Json ChatTemplate::variables(const Conversation& conversation, bool add_generation_prompt) const {
    Json messages = Json::array();
    for (const Json& message : conversation.messages) messages.push_back(with_reasoning(message));
    Json tools = conversation.tools.is_null() ? context_.tools : conversation.tools;
    if (tools.empty()) tools = nullptr;
    if (is_layout_) require_plain(messages, tools);

    Json variables = {{"messages", std::move(messages)},
                      {"tools", std::move(tools)},
                      {"documents", nullptr},
                      {"add_generation_prompt", add_generation_prompt}};
    for (const auto& [name, token] : context_.special_tokens.items()) variables[name] = token;
    if (!conversation.template_arguments.is_null()) {
        for (const auto& [name, value] : conversation.template_arguments.items()) {
            require(name != "messages" && name != "tools" && name != "add_generation_prompt",
                    "the field \"chat_template_kwargs\" sets \"", name,
                    "\", which the conversation itself decides; take it out");
            variables[name] = value;
        }
    }
    return variables;
}

const ChatTemplate::Choice& ChatTemplate::choose(const Json& variables) const {
    auto found = variables.at("tools").is_null() ? choices_.end() : choices_.find("tool_use");
    if (found == choices_.end()) found = choices_.find("default");
    if (found == choices_.end()) {
        std::vector<std::string> names;
        for (const auto& [name, choice] : choices_) names.push_back(name);
        fail("none of the model's chat templates (", join(names),
             ") is called \"default\", which is wanted where there are no tools");
    }
    require(found->second.parsed.has_value(), found->second.problem);
    return found->second;
}

jinja::Rendering ChatTemplate::render(const Json& variables) const {
    jinja::RenderOptions options;
    options.date = context_.date;
    return choose(variables).parsed->render(variables, options);
}

std::vector<std::string> ChatTemplate::unheard(const Json& variables) const {
    const std::string& text = choose(variables).text;
    const auto mentions = [&](const char* word) { return text.find(word) != text.npos; };
    const Json &messages = variables.at("messages"), &tools = variables.at("tools");
    std::vector<std::string> names;
    if (!tools.is_null() && !tools.empty() && !mentions("tools")) names.emplace_back("tools");
    if (any_has(messages, "tool_calls") && !mentions("tool_calls")) names.emplace_back("tool_calls");
    if (any_has(messages, "reasoning_content") && std::ranges::none_of(kReasoning, mentions))
        names.emplace_back("reasoning_content");
    return names;
}

}  // namespace llmc
