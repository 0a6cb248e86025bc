#include "llmc/chat/template_texts.h"

#include <nlohmann/json.hpp>

#include "llmc/core/error.h"
#include "test/catch.h"
#include "test/files.h"

using namespace llmc;
using nlohmann::json;

namespace {

std::vector<std::pair<std::string, std::string>> names_and_texts(const std::filesystem::path& folder) {
    std::vector<std::pair<std::string, std::string>> found;
    for (const TemplateText& text : read_model_templates(folder)) found.emplace_back(text.name, text.jinja);
    return found;
}

using Found = std::vector<std::pair<std::string, std::string>>;

}  // namespace

TEST_CASE("a model's templates are found where transformers finds them", "[chat]") {
    const test::TempDir model;
    CHECK(names_and_texts(model.path()).empty());
    model.write("tokenizer_config.json", json{{"chat_template", nullptr}}.dump());
    CHECK(names_and_texts(model.path()).empty());
    model.write("tokenizer_config.json", json{{"chat_template", "one"}}.dump());
    CHECK(names_and_texts(model.path()) == Found{{"default", "one"}});
    model.write(
        "tokenizer_config.json",
        json{{"chat_template", {{{"name", "default"}, {"template", "a"}}, {{"name", "tool_use"}, {"template", "b"}}}}}
            .dump());
    CHECK(names_and_texts(model.path()) == Found{{"default", "a"}, {"tool_use", "b"}});

    // Files of their own come first, all of them.
    model.write("chat_template.jinja", "file");
    CHECK(names_and_texts(model.path()) == Found{{"default", "file"}});
    std::filesystem::create_directory(model / "additional_chat_templates");
    model.write("additional_chat_templates/tool_use.jinja", "tools");
    model.write("additional_chat_templates/rag.jinja", "documents");
    model.write("additional_chat_templates/README.md", "no template");
    CHECK(names_and_texts(model.path()) == Found{{"default", "file"}, {"rag", "documents"}, {"tool_use", "tools"}});
    CHECK(read_model_templates(model.path())[0].where == (model / "chat_template.jinja").string());
    CHECK(read_template_file(model / "chat_template.jinja")[0].name == "default");
}

TEST_CASE("a field that is no template is refused with its file", "[chat]") {
    const test::TempDir model;
    const auto error_for = [&](const json& field) {
        model.write("tokenizer_config.json", json{{"chat_template", field}}.dump());
        return test::error_of(model, [&] { read_model_templates(model.path()); });
    };
    CHECK(error_for(7) == "tokenizer_config.json: field \"chat_template\" must be a string, found 7");
    CHECK(error_for({"a"}) ==
          "tokenizer_config.json: field \"chat_template\" must be a text, or a list of objects with name and template, "
          "found [\"a\"]");
    CHECK(error_for({{{"name", "default"}}}).find("chat_template.template") != std::string::npos);
    CHECK(test::error_of(model, [&] { read_template_file(model / "no.jinja"); }).find("no.jinja") != std::string::npos);
}

TEST_CASE("special tokens are those that transformers passes to a template", "[chat]") {
    const test::TempDir model;
    CHECK(read_special_tokens(model.path()) == Json::object());
    json config = {{"bos_token", "<s>"},
                   {"eos_token", {{"content", "</s>"}, {"lstrip", false}}},
                   {"pad_token", nullptr},
                   {"add_bos_token", true},
                   {"image_token", "<image>"},
                   {"tokenizer_class", "X"},
                   {"extra_special_tokens", {{"boi_token", "<boi>"}}}};
    model.write("tokenizer_config.json", config.dump());
    const Json own = {{"bos_token", "<s>"}, {"boi_token", "<boi>"}, {"eos_token", "</s>"}, {"image_token", "<image>"}};
    const auto sorted = [](const Json& tokens) { return json(json::parse(tokens.dump())); };
    CHECK(sorted(read_special_tokens(model.path())) == sorted(own));

    // The older file counts where the config does not list the added tokens.
    model.write("special_tokens_map.json", json{{"eos_token", "<|im_end|>"}, {"pad_token", "<pad>"}}.dump());
    CHECK(read_special_tokens(model.path())["eos_token"] == "<|im_end|>");
    CHECK(read_special_tokens(model.path())["pad_token"] == "<pad>");
    config["added_tokens_decoder"] = json::object();
    model.write("tokenizer_config.json", config.dump());
    CHECK(sorted(read_special_tokens(model.path())) == sorted(own));
}
