// Chat layouts that go by a name, for models that bring no chat template: a table of Jinja texts.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace llmc {

struct NamedLayout {
    const char* name;
    std::string_view jinja;
    std::vector<std::string_view> markers;  // what it writes that ought to be a token of its own
};

// alpaca, chatml, llama2, llama3, phi3, zephyr, mistral.
std::span<const NamedLayout> named_layouts();

// Null for another name.
const NamedLayout* find_named_layout(std::string_view name);

// The template's text: the layout's, behind the macros that all of them use.
std::string jinja_of(const NamedLayout& layout);

}  // namespace llmc
