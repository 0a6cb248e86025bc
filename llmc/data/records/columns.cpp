#include "llmc/data/records/columns.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <nlohmann/json.hpp>
#include <utility>

#include "llmc/core/error.h"

namespace llmc {
namespace {

// Beside texts. What an image or a document says would be missing from what the model sees.
constexpr std::array<std::string_view, 12> kNeverDropped = {"image",         "images", "video",     "videos",
                                                            "audio",         "audios", "documents", "functions",
                                                            "chat_template", "train",  "training",  "trainable"};

// Beside token ids: they say which sequence a token belongs to.
constexpr std::array<std::string_view, 11> kSequenceWords = {"position", "positions", "segment",   "segments",
                                                             "seq",      "sequence",  "sequences", "seqlens",
                                                             "seqlen",   "lengths",   "document"};

// Names of columns that mean a source, and a target, the likeliest first.
constexpr std::array<std::string_view, 12> kSourceGuesses = {"prompt", "query",   "question", "instruction",
                                                             "input",  "inputs",  "source",   "problem",
                                                             "user",   "request", "article",  "document"};
constexpr std::array<std::string_view, 14> kTargetGuesses = {"response",  "answer",  "output",  "completion", "target",
                                                             "outputs",   "targets", "reply",   "solution",   "answers",
                                                             "assistant", "chosen",  "summary", "label"};

std::string lower(std::string_view name) {
    std::string text(name);
    std::ranges::transform(text, text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return text;
}

// Whether a part of the name, between underscores, hyphens or blanks, is one of the words.
template <size_t n>
bool has_word(std::string_view name, const std::array<std::string_view, n>& words) {
    const std::string text = lower(name);
    for (size_t begin = 0; begin <= text.size();) {
        const size_t end = std::min(text.find_first_of("_- ", begin), text.size());
        if (std::ranges::find(words, std::string_view(text).substr(begin, end - begin)) != words.end()) return true;
        begin = end + 1;
    }
    return false;
}

bool is_one(const Json& value) {
    if (value.is_boolean()) return value.get<bool>();
    if (value.is_number()) return value.get<double>() == 1;
    return value.is_string() && value.get_ref<const std::string&>() == "1";
}

// The first of the guesses that one of the names contains; "" if there is none.
template <size_t n>
std::string best_guess(const std::vector<std::string>& names, const std::array<std::string_view, n>& guesses) {
    for (const std::string_view guess : guesses)
        for (const std::string& name : names)
            if (lower(name).find(guess) != std::string::npos) return name;
    return "";
}

}  // namespace

bool names_a_mark(std::string_view name) {
    static constexpr std::array<std::string_view, 10> kWords = {"mask",    "masks", "masked", "masking",   "weight",
                                                                "weights", "loss",  "losses", "trainable", "untrained"};
    // The mask of special tokens, as tokenizers write it, has no part in a loss.
    return name != "special_tokens_mask" && has_word(name, kWords);
}

bool is_neutral_mark(const Json& value) {
    return value.is_array() ? std::ranges::all_of(value, is_one) : is_one(value);
}

bool says_something(const Json& value) {
    if (value.is_string()) return !value.get_ref<const std::string&>().empty();
    return !value.empty();  // null is empty, a number is not
}

Json parse_text(std::string_view column, const std::string& text) {
    return parse_ordered_json(text, concat("the field ", in_quotes(column), " is a string that holds no JSON"));
}

Columns::Columns(std::vector<Field> fields, const std::vector<ColumnName>& names) {
    columns_.reserve(fields.size());
    for (Field& field : fields) {
        Column column{.field = std::move(field)};
        const auto theirs = std::ranges::find(names, column.field.name, &ColumnName::theirs);
        if (theirs != names.end())
            column.theirs = std::exchange(column.field.name, theirs->ours);
        else
            column.hidden = std::ranges::find(names, column.field.name, &ColumnName::ours) != names.end();
        columns_.push_back(std::move(column));
    }
}

// Two fields of one name: nobody can tell which is meant.
const Columns::Column* Columns::find(std::string_view name) const {
    const Column* found = nullptr;
    for (const Column& column : columns_) {
        if (column.hidden || column.field.name != name) continue;
        require(!found, "the field ", in_quotes(name), " appears twice; keep one of them");
        found = &column;
    }
    return found && !found->field.value.is_null() ? found : nullptr;
}

const Json* Columns::look_at(std::string_view name) const {
    const Column* column = find(name);
    return column ? &column->field.value : nullptr;
}

Json* Columns::take(std::string_view name) {
    auto* column = const_cast<Column*>(find(name));
    if (!column) return nullptr;
    column->taken = true;
    return &column->field.value;
}

std::string Columns::take_text(std::string_view name) {
    Json* value = take(name);
    if (!value) return "";
    require(value->is_string(), "the field ", in_quotes(name), " is ", kind_of(*value),
            ", but must be a string; put the text in quotes");
    return std::move(value->get_ref<std::string&>());
}

Json Columns::take_tree(std::string_view name) {
    Json* value = take(name);
    if (!value || *value == Json::object()) return nullptr;
    if (!value->is_string()) return std::move(*value);
    const auto& text = value->get_ref<const std::string&>();
    return text.empty() ? nullptr : parse_text(name, text);
}

std::string Columns::list() const {
    constexpr size_t kMost = 20;
    std::string list;
    for (size_t i = 0; i < std::min(columns_.size(), kMost); ++i) {
        const Column& column = columns_[i];
        list += (i ? ", " : "") + in_quotes(column.theirs.empty() ? column.field.name : column.theirs);
        if (column.field.value.is_null()) list += " (null)";
    }
    if (columns_.size() > kMost) list += concat(" and ", columns_.size() - kMost, " more");
    return columns_.empty() ? "none" : list;
}

std::string Columns::guess() const {
    std::vector<std::string> names;
    for (const Column& column : columns_)
        if (!column.field.value.is_null() && in_quotes(column.field.name) == "\"" + column.field.name + "\"")
            names.push_back(column.field.name);
    const std::string target = best_guess(names, kTargetGuesses);
    std::erase(names, target);
    const std::string source = best_guess(names, kSourceGuesses);
    return source.empty() || target.empty() ? "" : concat("input=", source, ",output=", target);
}

void Columns::finish(bool tokens, ReadingNotes& notes) const {
    for (const Column& column : columns_) {
        const auto& [name, value] = column.field;
        if (column.taken || !says_something(value)) continue;
        const bool sequences = tokens && has_word(name, kSequenceWords);
        const bool mark = names_a_mark(name) || std::ranges::find(kNeverDropped, name) != kNeverDropped.end();
        const bool labels = name == "labels" && value.is_array();  // of tokens, beside texts that have none yet
        require(!sequences && !labels && (!mark || is_neutral_mark(value)), "the field ", in_quotes(name),
                " is not supported, and to leave it out could train on something else than the row asks for; remove "
                "the column, or the row");
        notes.add_unread_column(name);
    }
}

}  // namespace llmc
