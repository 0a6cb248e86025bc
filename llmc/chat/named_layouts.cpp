#include "llmc/chat/named_layouts.h"

#include <algorithm>

namespace llmc {
namespace {

// text(message): what it says, be it a string or a list of parts.
// check_turns(): refuses all but an optional system message, then user and assistant in turn.
// check_role(message): refuses all but the system's, the user's and the assistant's.
// marked(before, after, end): each message as before ROLE after TEXT end, on lines of their own.
constexpr std::string_view kMacros = R"({#- -#}
{%- macro text(message) -%}
    {%- if message.content is string -%}
        {{- message.content -}}
    {%- else -%}
        {%- for part in message.content -%}{{- part.text -}}{%- endfor -%}
    {%- endif -%}
{%- endmacro -%}
{%- macro check_role(message) -%}
    {%- if message.role not in ['system', 'user', 'assistant'] -%}
        {{- raise_exception('this layout knows the roles system, user and assistant, not "' ~ message.role ~ '"') -}}
    {%- endif -%}
{%- endmacro -%}
{%- macro marked(before, after, end) -%}
    {%- for message in messages -%}
        {{- check_role(message) ~ ('' if loop.first else '\n') ~ before ~ message.role ~ after ~ text(message) ~ end -}}
    {%- endfor -%}
    {%- if add_generation_prompt -%}{{- '\n' ~ before ~ 'assistant' ~ after -}}{%- endif -%}
{%- endmacro -%}
{%- macro check_turns() -%}
    {%- for message in (messages[1:] if messages[0].role == 'system' else messages) -%}
        {%- if message.role != ('user' if loop.index0 is even else 'assistant') -%}
            {{- raise_exception('this layout wants user and assistant to take turns, after one system message at most') -}}
        {%- endif -%}
    {%- endfor -%}
{%- endmacro -%}
)";

// The paper's wording for instructions with and without an input (Taori et al. 2023).
constexpr std::string_view kAlpaca = R"({{- check_turns() -}}
{%- for message in messages -%}
    {%- if message.role == 'system' -%}
        {{- text(message) ~ '\n\n' -}}
    {%- elif message.role == 'user' -%}
        {%- set has_input = message.input is defined and message.input -%}
        {%- if loop.first and has_input -%}
            {{- 'Below is an instruction that describes a task, paired with an input that provides further context. ' -}}
            {{- 'Write a response that appropriately completes the request.\n\n' -}}
        {%- elif loop.first -%}
            {{- 'Below is an instruction that describes a task. ' -}}
            {{- 'Write a response that appropriately completes the request.\n\n' -}}
        {%- endif -%}
        {%- if has_input -%}
            {{- '### Instruction:\n' ~ message.instruction ~ '\n\n### Input:\n' ~ message.input -}}
        {%- else -%}
            {{- '### Instruction:\n' ~ text(message) -}}
        {%- endif -%}
        {{- '\n\n### Response:\n' -}}
    {%- else -%}
        {{- text(message) ~ ('' if loop.last else eos_token ~ '\n\n') -}}
    {%- endif -%}
{%- endfor -%}
)";

constexpr std::string_view kChatml = R"({{- marked('<|im_start|>', '\n', '<|im_end|>') -}})";

constexpr std::string_view kLlama2 = R"({{- check_turns() -}}
{%- set has_system = messages[0].role == 'system' -%}
{%- for message in (messages[1:] if has_system else messages) -%}
    {%- if message.role == 'user' -%}
        {{- '<s>[INST] ' -}}
        {%- if loop.first and has_system -%}
            {{- '<<SYS>>\n' ~ text(messages[0]) | trim ~ '\n<</SYS>>\n\n' -}}
        {%- endif -%}
        {{- text(message) | trim ~ ' [/INST]' -}}
    {%- else -%}
        {{- ' ' ~ text(message) | trim ~ ' </s>' -}}
    {%- endif -%}
{%- endfor -%}
)";

constexpr std::string_view kLlama3 = R"({{- '<|begin_of_text|>' -}}
{%- for message in messages -%}
    {{- check_role(message) ~ '<|start_header_id|>' ~ message.role ~ '<|end_header_id|>\n\n' -}}
    {{- text(message) | trim ~ '<|eot_id|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' -}}{%- endif -%}
)";

constexpr std::string_view kPhi3 = R"({{- marked('<|', '|>\n', '<|end|>') -}})";

constexpr std::string_view kZephyr = R"({{- marked('<|', '|>\n', '</s>') -}})";

constexpr std::string_view kMistral = R"({{- check_turns() -}}
{{- '<s>' -}}
{%- set has_system = messages[0].role == 'system' -%}
{%- for message in (messages[1:] if has_system else messages) -%}
    {%- if message.role == 'user' -%}
        {{- '[INST] ' ~ (text(messages[0]) ~ '\n\n' if loop.first and has_system else '') -}}
        {{- text(message) ~ ' [/INST]' -}}
    {%- else -%}
        {{- ' ' ~ text(message) ~ '</s>' -}}
    {%- endif -%}
{%- endfor -%}
)";

}  // namespace

std::span<const NamedLayout> named_layouts() {
    static const std::vector<NamedLayout> kLayouts = {
        {"alpaca", kAlpaca, {}},
        {"chatml", kChatml, {"<|im_start|>", "<|im_end|>"}},
        {"llama2", kLlama2, {"<s>", "</s>"}},
        {"llama3", kLlama3, {"<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"}},
        {"phi3", kPhi3, {"<|system|>", "<|user|>", "<|assistant|>", "<|end|>"}},
        {"zephyr", kZephyr, {"</s>"}},
        {"mistral", kMistral, {"<s>", "</s>"}},
    };
    return kLayouts;
}

const NamedLayout* find_named_layout(std::string_view name) {
    const auto layouts = named_layouts();
    const auto found = std::ranges::find(layouts, name, &NamedLayout::name);
    return found == layouts.end() ? nullptr : &*found;
}

std::string jinja_of(const NamedLayout& layout) {
    return std::string(kMacros) + std::string(layout.jinja);
}

}  // namespace llmc
