#include "llmc/tokenizer/models/bpe_lists.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "llmc/core/error.h"
#include "llmc/tokenizer/models/vocabulary.h"

namespace llmc {

using nlohmann::json;

namespace {

int32_t token_id(const std::string& text, const json& value, const std::string& file) {
    if (value.is_number_unsigned() && value.get<uint64_t>() <= Vocabulary::kMaxId) return value.get<int32_t>();
    const json entry = {{text, value}};
    JsonObject(entry, file, "model.vocab.").fail_field(text, concat("an id from 0 to ", Vocabulary::kMaxId));
}

// ["a", "b"] since tokenizers 0.20, "a b" before. Both empty: neither.
BpeLists::Merge read_merge(json& entry) {
    BpeLists::Merge merge;
    if (entry.is_string()) {
        const auto& line = entry.get_ref<const std::string&>();
        const size_t space = line.find(' ');
        if (space != line.npos && line.find(' ', space + 1) == line.npos)
            merge = {line.substr(0, space), line.substr(space + 1)};
    } else if (entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_string()) {
        merge = {std::move(entry[0].get_ref<std::string&>()), std::move(entry[1].get_ref<std::string&>())};
    }
    return merge;
}

}  // namespace

std::vector<LongField> BpeLists::fields(const std::string& file) {
    const auto take_token = [this, file](std::string& text, json& value) {
        const int32_t id = token_id(text, value, file);
        tokens.push_back({id, std::move(text)});
    };
    const auto take_merge = [this, file](const std::string&, json& value) {
        const int64_t index = n_merge_entries++;
        if (value.is_string() && value.get_ref<const std::string&>().starts_with("#version")) return;
        Merge merge = read_merge(value);
        if (merge.left.empty() || merge.right.empty()) {
            fail(file, ": field \"model.merges\", entry ", index,
                 ": must be two tokens, \"a b\" or [\"a\", \"b\"], found ", describe(value), ".");
        }
        merges.push_back(std::move(merge));
    };
    return {{"model", "vocab", true, take_token}, {"model", "merges", false, take_merge}};
}

}  // namespace llmc
