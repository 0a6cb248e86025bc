// A chat template: what lays a conversation out as one text, as transformers' apply_chat_template does.
//
// It is a Jinja program (llmc/jinja): a model's own, somebody's file, or a layout that goes by a name.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "llmc/chat/conversation.h"
#include "llmc/chat/template_texts.h"
#include "llmc/jinja/template.h"

namespace llmc {

// What every rendering is given beside the conversation.
struct TemplateContext {
    Json special_tokens = Json::object();  // read_special_tokens()
    Json tools;                            // for conversations without their own; null: none
    std::optional<jinja::Date> date;       // today, for strftime_now; nothing: the clock's
};

// Use never changes a template: threads may share it.
class ChatTemplate {
  public:
    // The templates of a model or a file, one at least. A broken one is refused where it is used.
    ChatTemplate(const std::vector<TemplateText>& texts, TemplateContext context);

    // A layout of named_layouts.h. Throws UsageError for another name.
    static ChatTemplate named(std::string_view name, TemplateContext context);

    // Whether it is a named layout. Such a layout knows no tokenizer: BOS goes in front of its text where the tokenizer
    // would put one.
    bool is_layout() const { return is_layout_; }

    // Whether its text may depend on the day.
    bool uses_date() const { return uses_date_; }

    // What the template sees of a conversation: its messages (a message's reasoning under each name that templates
    // read), tools, special tokens, the conversation's own variables. Throws Error if those would hide a variable that
    // the conversation decides, or if a named layout has no place for tools, calls or reasoning.
    Json variables(const Conversation& conversation, bool add_generation_prompt) const;

    // The text of such variables. Of several templates, tool_use is taken where there are tools, else default. Throws
    // Error with the template's place and words.
    jinja::Rendering render(const Json& variables) const;

    // Whether the template that these variables choose marks what the assistant says ({% generation %}).
    bool marks_generation(const Json& variables) const { return choose(variables).parsed->marks_generation(); }

    // Fields with something in them that the template never mentions, so that its text is the same without them:
    // "tools", "tool_calls", "reasoning_content".
    std::vector<std::string> unheard(const Json& variables) const;

  private:
    struct Choice {
        std::string text;
        std::optional<jinja::Template> parsed;
        std::string problem;  // why it is not parsed
    };

    // Throws Error if the template is broken, or missing.
    const Choice& choose(const Json& variables) const;

    std::map<std::string, Choice> choices_;
    TemplateContext context_;
    bool is_layout_ = false, uses_date_ = false;
};

}  // namespace llmc
