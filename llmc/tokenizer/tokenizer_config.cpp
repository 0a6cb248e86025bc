// The files beside the tokenizer proper: which tokens are BOS and EOS, and what else is special.
//
// The post-processor of tokenizer.json decides whether BOS and EOS are added; add_bos_token and add_eos_token decide
// for a tokenizer.model alone. transformers does so since version 5, and the files of the supported models agree.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "llmc/core/error.h"
#include "llmc/io/json.h"
#include "llmc/io/path.h"
#include "llmc/tokenizer/sentencepiece/sentencepiece_model.h"
#include "llmc/tokenizer/tokenizer_parts.h"

namespace llmc {

using nlohmann::json;

namespace {

// The file's tree; an empty object if there is no such file.
json read_if_there(const std::filesystem::path& path) {
    return path_exists(path) ? read_json(path) : json::object();
}

// A token as these files name one: "<s>", or {"content": "<s>", ..}.
std::string content_of(const json& token, const JsonObject& owner, const std::string& key) {
    if (token.is_object()) return JsonObject(token, owner.file(), key + ".").string("content");
    if (!token.is_string()) owner.fail_field(key, "a token, as a string or as an object with \"content\"");
    return token.get<std::string>();
}

// Where this model's tokenizer puts a space that the text does not have. Since transformers 5 it stands at the
// beginning of the text only; `legacy` puts one after every special token, too.
PrependScheme prepend_scheme(const JsonObject& config) {
    if (!config.boolean("add_prefix_space", true)) return PrependScheme::never;
    return config.boolean("legacy", false) ? PrependScheme::always : PrependScheme::first;
}

// transformers 5 builds this class anew from vocabulary and merges, and takes neither normalizer nor decoder from
// tokenizer.json.
bool is_llama_class(const JsonObject& config) {
    const std::string name = config.string("tokenizer_class", "");
    return name == "LlamaTokenizer" || name == "LlamaTokenizerFast";
}

}  // namespace

TokenizerParts read_sentencepiece(const std::filesystem::path& directory) {
    const json tree = read_if_there(directory / "tokenizer_config.json");
    const JsonObject config(tree, (directory / "tokenizer_config.json").string());

    auto model = std::make_unique<SentencePieceModel>(directory / "tokenizer.model");
    TokenizerParts parts;
    parts.bos = model->bos_id();
    parts.eos = model->eos_id();
    parts.adds_bos = parts.bos && config.boolean("add_bos_token", true);
    parts.adds_eos = parts.eos && config.boolean("add_eos_token", false);

    if (path_exists(directory / "tokenizer_config.json")) {
        parts.pre_tokenizer = PreTokenizer::metaspace(prepend_scheme(config));
        parts.decoder = Decoder::sentencepiece(prepend_scheme(config) != PrependScheme::never);
    } else {  // nothing but the model: its own rules
        const SentencePieceTraits& traits = model->traits();
        parts.normalizer = Normalizer::sentencepiece(traits.adds_space, traits.drops_spaces);
        parts.decoder = Decoder::sentencepiece(traits.adds_space);
    }

    std::vector<AddedToken> control;
    for (int32_t id = 0; id < model->n_tokens(); ++id) {
        if (!model->is_control(id)) continue;
        AddedToken token;
        token.id = id;
        token.content = *model->token(id);
        token.special = true;
        control.push_back(std::move(token));
    }
    parts.model = std::move(model);
    for (AddedToken& token : control) parts.add(std::move(token), config.file());

    const std::filesystem::path added_path = directory / "added_tokens.json";
    const json added_tree = read_if_there(added_path);
    const JsonObject added(added_tree, added_path.string());
    std::vector<AddedToken> tokens;
    for (const auto& [content, id] : added_tree.items()) {
        AddedToken token;
        token.id = static_cast<int32_t>(added.integer(content, 0, INT32_MAX - 1));
        token.content = content;
        tokens.push_back(std::move(token));
    }
    std::ranges::sort(tokens, {}, &AddedToken::id);
    for (AddedToken& token : tokens) parts.add(std::move(token), added.file());
    return parts;
}

void apply_tokenizer_config(TokenizerParts& parts, const std::filesystem::path& directory) {
    const json config_tree = read_if_there(directory / "tokenizer_config.json");
    const json map_tree = read_if_there(directory / "special_tokens_map.json");
    const JsonObject config(config_tree, (directory / "tokenizer_config.json").string());
    const JsonObject map(map_tree, (directory / "special_tokens_map.json").string());

    if (parts.prepends_spaces && is_llama_class(config)) {
        parts.normalizer = {};
        parts.pre_tokenizer = PreTokenizer::metaspace(prepend_scheme(config));
    }
    parts.splits_special = config.boolean("split_special_tokens", false);

    // {"32000": {"content": "<|end|>", ..}}: tokens that are new, or that differ from the tokenizer's own file.
    if (config.has("added_tokens_decoder")) {
        const JsonObject decoder = config.object("added_tokens_decoder");
        std::vector<AddedToken> tokens;
        for (const auto& [key, entry] : decoder.tree().items()) {
            AddedToken token = read_added_token(decoder.object(key));
            const bool is_number = !key.empty() && key.size() <= 9 && key.find_first_not_of("0123456789") == key.npos;
            if (!is_number) config.fail_field("added_tokens_decoder", "an object whose keys are token ids");
            token.id = std::stoi(key);
            tokens.push_back(std::move(token));
        }
        std::ranges::sort(tokens, {}, &AddedToken::id);
        for (AddedToken& token : tokens) parts.add(std::move(token), config.file());
    }

    // A token named here is special, if the tokenizer has it at all.
    const auto make_special = [&](const std::string& content) -> std::optional<int32_t> {
        const std::optional<int32_t> id = content.empty() ? std::nullopt : parts.id(content);
        if (id && !parts.added.contains(*id)) {
            AddedToken token;
            token.content = content;
            token.special = true;
            parts.add(std::move(token), config.file());
        } else if (id) {
            parts.added[*id].special = true;
        }
        return id;
    };
    const auto fail_unknown = [](const std::string& field, const std::string& content) {
        fail(field, " names ", describe(content),
             ", which is not a token of this tokenizer. Add it to the tokenizer's own file, or take it out.");
    };
    for (const JsonObject* file : {&config, &map}) {
        // transformers 5 renamed the field.
        for (const std::string key : {"additional_special_tokens", "extra_special_tokens"}) {
            if (!file->has(key)) continue;
            for (const json& entry : file->value(key)) {
                const std::string content = content_of(entry, *file, key);
                if (!content.empty() && !make_special(content)) fail_unknown(file->field(key), content);
            }
        }
    }

    const auto named_token = [&](const std::string& key) {
        const JsonObject& file = config.contains(key) ? config : map;
        return file.has(key) ? content_of(file.value(key), file, key) : "";
    };
    for (const char* key : {"unk_token", "pad_token"}) make_special(named_token(key));
    const auto read_end = [&](const std::string& key, std::optional<int32_t>& id,
                              std::optional<int32_t> from_template) {
        const std::string content = named_token(key);
        if (content.empty()) return;
        id = make_special(content);
        if (!id) fail_unknown((config.contains(key) ? config : map).field(key), content);
        require(!from_template || from_template == id, config.field(key), " is ", describe(content),
                ", but the tokenizer's post_processor adds the token ", from_template.value_or(-1),
                " in its place. Such templates are not supported.");
    };
    read_end("bos_token", parts.bos, parts.template_bos);
    read_end("eos_token", parts.eos, parts.template_eos);
}

}  // namespace llmc
