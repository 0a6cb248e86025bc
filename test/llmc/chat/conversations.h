// Conversations for tests, and templates as they come in models.
#pragma once

#include <initializer_list>
#include <string>
#include <utility>

#include "llmc/chat/chat_template.h"

namespace test {

// {role, what is said}, ..
inline llmc::Conversation conversation(std::initializer_list<std::pair<const char*, const char*>> messages) {
    llmc::Conversation made;
    made.messages = llmc::Json::array();
    for (const auto& [role, said] : messages) made.messages.push_back({{"role", role}, {"content", said}});
    return made;
}

inline llmc::ChatTemplate jinja_template(const std::string& jinja, llmc::TemplateContext context = {}) {
    return {{{"default", "chat_template.jinja", jinja}}, std::move(context)};
}

// ChatML, with what many models add to it: reasoning and calls, the reasoning of the last turn alone.
inline const std::string kChatml =
    "{%- if tools %}{{- '<|im_start|>system\\n' + tools | tojson + '<|im_end|>\\n' }}{%- endif %}"
    "{%- for m in messages %}"
    "{{- '<|im_start|>' + m.role + '\\n' }}"
    "{%- if m.role == 'assistant' and loop.last and m.reasoning_content %}"
    "{{- '<think>\\n' + m.reasoning_content + '\\n</think>\\n\\n' }}{%- endif %}"
    "{{- m.content | default('', true) | trim }}"
    "{%- for call in m.tool_calls or [] %}"
    "{{- '<call>' + call.function.name + ' ' + call.function.arguments | tojson + '</call>' }}{%- endfor %}"
    "{{- '<|im_end|>\\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n<think>\\n' }}{%- endif %}";

}  // namespace test
