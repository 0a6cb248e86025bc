// The chat templates that a model's folder or a file holds, as texts, and the special tokens that they may refer to.
// Nothing is parsed here, so a template that is broken hurts only where it is used.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "llmc/io/ordered_json.h"

namespace llmc {

struct TemplateText {
    std::string name;   // "default", "tool_use", ..
    std::string where;  // its file, or its file and field: for errors
    std::string jinja;

    bool operator==(const TemplateText& other) const { return name == other.name && jinja == other.jinja; }
};

// The templates of a model's folder as transformers finds them: chat_template.jinja (the default one) and
// additional_chat_templates/NAME.jinja; where there is none of these, the field "chat_template" of
// tokenizer_config.json, a text or a list of named ones. Empty if the folder has none. Throws Error for a file that
// cannot be read or a field of another type.
std::vector<TemplateText> read_model_templates(const std::filesystem::path& model_folder);

// One template of one's own, the default one.
std::vector<TemplateText> read_template_file(const std::filesystem::path& file);

// The named special tokens, as an object of strings ("bos_token", "eos_token", "pad_token", ..), which is what
// transformers passes to a template. A token that the files do not name is absent.
Json read_special_tokens(const std::filesystem::path& model_folder);

}  // namespace llmc
