#include "llmc/tokenizer/tokenizer_parts.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "llmc/core/error.h"
#include "llmc/io/json.h"
#include "llmc/tokenizer/models/bpe.h"
#include "llmc/tokenizer/models/unigram.h"

namespace llmc {

using nlohmann::json;

std::optional<int32_t> TokenizerParts::id(std::string_view token) const {
    const auto found = added_ids.find(std::string(token));
    return found == added_ids.end() ? model->id(token) : found->second;
}

int32_t TokenizerParts::max_id() const {
    return std::max(model->max_id(), added.empty() ? -1 : added.rbegin()->first);
}

void TokenizerParts::add(AddedToken token, const std::string& where) {
    if (token.content.empty()) return;
    require(token.content.size() <= ByteTrie::kLongest, where, ": an added token has ", token.content.size(),
            " bytes, more than the ", ByteTrie::kLongest, " that one may have; shorten it, or leave it out.");
    const int32_t next = std::max(model->n_tokens(), added.empty() ? 0 : added.rbegin()->first + 1);
    const int32_t id = this->id(token.content).value_or(next);
    require(token.id == -1 || token.id == id, where, ": the added token ", describe(token.content), " has the id ",
            token.id, ", but Hugging Face's tokenizers would give it ", id,
            ". The file is inconsistent; a tokenizer loaded and saved by transformers is not.");
    token.id = id;
    if (const auto known = added.find(id); known != added.end()) token.special |= known->second.special;
    require(!model->token(id) || *model->token(id) == token.content, where, ": the added token ",
            describe(token.content), " would get the id ", id, ", which is taken.");
    added_ids[token.content] = id;
    added[id] = std::move(token);
}

void TokenizerParts::finish() {
    if (splits_special) {
        as_written.disregard_special();
        as_normalized.disregard_special();
    }
    for (auto& [id, token] : added) {
        token.pattern = token.normalized ? normalizer.apply(token.content) : token.content;
        require(token.pattern.size() <= ByteTrie::kLongest, "The added token ", describe(token.content), " has ",
                token.pattern.size(), " bytes once it is normalized, more than the ", ByteTrie::kLongest,
                " that one may have.");
        if (!token.pattern.empty()) (token.normalized ? as_normalized : as_written).add(token);
    }
}

AddedToken read_added_token(const JsonObject& token) {
    AddedToken added;
    added.content = token.string("content");
    added.single_word = token.boolean("single_word", false);
    added.lstrip = token.boolean("lstrip", false);
    added.rstrip = token.boolean("rstrip", false);
    added.special = token.boolean("special", false);
    added.normalized = token.boolean("normalized", !added.special);
    return added;
}

namespace {

// The tokens that a post-processor adds before and after a text, and what it does to ranges.
struct Template {
    std::vector<int32_t> before, behind;
    std::optional<TrimRanges> trim_ranges;
};

void read_post_processor(const JsonObject& processor, Template& tokens) {
    const std::string type = processor.string("type");
    if (type == "Sequence") {
        const json& parts = processor.value("processors");
        if (!parts.is_array()) processor.fail_field("processors", "a list");
        for (const json& part : parts)
            read_post_processor(JsonObject(part, processor.file(), "post_processor."), tokens);
    } else if (type == "TemplateProcessing") {
        const json& pieces = processor.value("single");
        if (!pieces.is_array()) processor.fail_field("single", "a list");
        Template found;
        int sequences = 0;
        for (const json& piece : pieces) {
            const JsonObject entry(piece, processor.file(), "post_processor.single.");
            if (entry.has("Sequence")) {
                if (entry.object("Sequence").string("id") != "A") entry.object("Sequence").fail_field("id", "A");
                ++sequences;
                continue;
            }
            const std::string name = entry.object("SpecialToken").string("id");
            const JsonObject token = processor.object("special_tokens").object(name);
            const json& ids = token.value("ids");
            if (!ids.is_array()) token.fail_field("ids", "a list of token ids");
            for (const json& id : ids) {
                const int64_t number = token.integer("ids", id, 0, Vocabulary::kMaxId);
                (sequences ? found.behind : found.before).push_back(static_cast<int32_t>(number));
            }
        }
        if (sequences != 1) processor.fail_field("single", "a list that holds the sequence A once");
        // A later template wraps what an earlier one made.
        tokens.before.insert(tokens.before.begin(), found.before.begin(), found.before.end());
        tokens.behind.insert(tokens.behind.end(), found.behind.begin(), found.behind.end());
    } else if (type == "ByteLevel") {
        if (!processor.boolean("trim_offsets", true)) return;
        if (tokens.trim_ranges) processor.fail_field("trim_offsets", "false in all but one of the post-processors");
        tokens.trim_ranges = TrimRanges{processor.boolean("add_prefix_space", true)};
    } else {
        processor.fail_field("type", "a supported post-processor (Sequence, TemplateProcessing or ByteLevel)");
    }
}

std::unique_ptr<TokenModel> read_model(const JsonObject& model, BpeLists lists) {
    // Files before tokenizers 0.14 may lack the type; only BPE has merges.
    const std::string type = model.string("type", model.has("merges") ? "BPE" : "unknown");
    if (type == "Unigram") return std::make_unique<Unigram>(model);
    if (type != "BPE") model.fail_field("type", "\"BPE\" or \"Unigram\" (other models are not supported)");
    return std::make_unique<Bpe>(model, std::move(lists));
}

json llama2_normalizer() {
    const std::string space(kMetaspace);
    return {{"type", "Sequence"},
            {"normalizers",
             {{{"type", "Prepend"}, {"prepend", space}},
              {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", space}}}}};
}

}  // namespace

TokenizerParts read_tokenizer_json(const std::filesystem::path& path) {
    BpeLists lists;
    const json tree = read_json(path, lists.fields(path.string()));
    const JsonObject file(tree, path.string());
    if (file.string("version", "1.0") != "1.0") file.fail_field("version", "\"1.0\"");

    TokenizerParts parts;
    const JsonObject model = file.object("model");
    parts.model = read_model(model, std::move(lists));
    if (file.has("normalizer")) parts.normalizer = Normalizer(file.object("normalizer"));
    parts.prepends_spaces =
        !file.has("pre_tokenizer") && file.has("normalizer") && file.value("normalizer") == llama2_normalizer();
    if (file.has("pre_tokenizer")) parts.pre_tokenizer = PreTokenizer(file.object("pre_tokenizer"));
    if (file.has("decoder")) parts.decoder = Decoder(file.object("decoder"));

    if (file.has("added_tokens")) {
        const json& tokens = file.value("added_tokens");
        if (!tokens.is_array()) file.fail_field("added_tokens", "a list");
        for (const json& entry : tokens) {
            const JsonObject token(entry, file.file(), "added_tokens.");
            AddedToken added = read_added_token(token);
            added.id = static_cast<int32_t>(token.integer("id", 0, INT32_MAX - 1));
            parts.add(std::move(added), file.file());
        }
    }

    if (file.has("post_processor")) {
        Template tokens;
        read_post_processor(file.object("post_processor"), tokens);
        if (tokens.before.size() > 1 || tokens.behind.size() > 1) {
            file.fail_field("post_processor",
                            "a post-processor that adds at most one token before a text and one after it");
        }
        parts.trim_ranges = tokens.trim_ranges;
        parts.adds_bos = !tokens.before.empty();
        parts.adds_eos = !tokens.behind.empty();
        if (parts.adds_bos) parts.bos = parts.template_bos = tokens.before[0];
        if (parts.adds_eos) parts.eos = parts.template_eos = tokens.behind[0];
    }
    return parts;
}

}  // namespace llmc
