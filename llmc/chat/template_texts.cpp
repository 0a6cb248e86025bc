#include "llmc/chat/template_texts.h"

#include <algorithm>

#include "llmc/core/error.h"
#include "llmc/io/file_io.h"
#include "llmc/io/json.h"
#include "llmc/io/path.h"

namespace llmc {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

constexpr int64_t kMostBytes = 16 << 20;  // of a template; the longest known has 30 KB
constexpr const char* kConfig = "tokenizer_config.json";
constexpr const char* kMoreTemplates = "additional_chat_templates";

json read_if_there(const fs::path& path) {
    return path_exists(path) ? read_json(path) : json::object();
}

TemplateText read_text(const std::string& name, const fs::path& file) {
    return {name, file.string(), read_file(file, kMostBytes)};
}

// The .jinja files of a folder, by name.
std::vector<TemplateText> read_folder(const fs::path& folder) {
    std::vector<TemplateText> texts;
    if (!path_is_directory(folder)) return texts;
    std::error_code error;
    for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error))
        if (entry->path().extension() == ".jinja") texts.push_back(read_text(entry->path().stem().string(), *entry));
    require(!error, "cannot read the folder ", folder.string(), ": ", error.message());
    std::ranges::sort(texts, {}, &TemplateText::name);
    return texts;
}

std::vector<TemplateText> read_field(const JsonObject& config) {
    constexpr const char* kField = "chat_template";
    std::vector<TemplateText> texts;
    if (!config.has(kField)) return texts;
    const json& value = config.value(kField);
    if (!value.is_array()) return {{"default", config.field(kField), config.string(kField)}};
    for (const json& entry : value) {
        if (!entry.is_object()) config.fail_field(kField, "a text, or a list of objects with name and template");
        const JsonObject choice(entry, config.file(), "chat_template.");
        const std::string name = choice.string("name");
        texts.push_back({name, concat(config.field(kField), " \"", name, "\""), choice.string("template")});
    }
    return texts;
}

// "<s>", or {"content": "<s>", ..}; nothing for what is no token (add_bos_token is a boolean).
std::optional<std::string> token_in(const json& value) {
    const json* content = &value;
    if (value.is_object()) {
        if (!value.contains("content")) return std::nullopt;
        content = &value["content"];
    }
    if (!content->is_string()) return std::nullopt;
    return content->get<std::string>();
}

// Takes every named token of the object. A later file's tokens replace an earlier one's.
void take_tokens(const json& object, Json& tokens) {
    if (!object.is_object()) return;
    for (const auto& [name, value] : object.items())
        if (const auto token = token_in(value); token && name.ends_with("_token")) tokens[name] = *token;
    // Tokens that only this model has may stand in an object of their own.
    if (const auto more = object.find("extra_special_tokens"); more != object.end() && more->is_object())
        for (const auto& [name, value] : more->items())
            if (const auto token = token_in(value)) tokens[name] = *token;
}

}  // namespace

std::vector<TemplateText> read_model_templates(const fs::path& folder) {
    std::vector<TemplateText> texts = read_folder(folder / kMoreTemplates);
    const fs::path file = folder / "chat_template.jinja";
    if (path_exists(file) && std::ranges::find(texts, "default", &TemplateText::name) == texts.end())
        texts.insert(texts.begin(), read_text("default", file));
    if (!texts.empty()) return texts;
    const json tree = read_if_there(folder / kConfig);
    return read_field(JsonObject(tree, (folder / kConfig).string()));
}

std::vector<TemplateText> read_template_file(const fs::path& file) {
    return {read_text("default", file)};
}

Json read_special_tokens(const fs::path& folder) {
    Json tokens = Json::object();
    const json config = read_if_there(folder / kConfig);
    take_tokens(config, tokens);
    // transformers reads the older file where this field is absent.
    if (!config.is_object() || !config.contains("added_tokens_decoder"))
        take_tokens(read_if_there(folder / "special_tokens_map.json"), tokens);
    return tokens;
}

}  // namespace llmc
