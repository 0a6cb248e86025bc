#include "llmc/data/formats/row_of_format.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "llmc/core/error.h"
#include "llmc/core/words.h"

namespace llmc {
namespace {

std::string listed(const std::vector<std::string>& names) {
    std::string list;
    for (const std::string& name : names) list += (list.empty() ? "" : ", ") + in_quotes(name);
    return list.empty() ? "none" : list;
}

// A cell of a .csv file holds a list or a number as text.
Json parsed(std::string_view name, const Json& cell) {
    return parse_ordered_json(cell.get_ref<const std::string&>(), concat("the field ", in_quotes(name)));
}

}  // namespace

RowOfFormat::RowOfFormat(const DataFormat& format, std::vector<Field> fields, uint64_t seed, int64_t index)
    : format_(format), fields_(std::move(fields)), seed_(seed), index_(index) {
    constexpr size_t kMostListed = 20;
    std::vector<std::string> missing, found, wanted(format.columns.begin(), format.columns.end());
    for (const std::string& name : wanted)
        if (!find(name)) missing.push_back(name);
    for (size_t i = 0; i < std::min(fields_.size(), kMostListed); ++i) found.push_back(fields_[i].name);
    require(missing.empty(), "a row of the format ", format.name, " has the columns ", listed(wanted),
            ", but here is no ", listed(missing), "; found ", listed(found),
            fields_.size() > kMostListed ? " and more" : "");
}

// Null if absent. Two columns of one name are an error: nobody can tell which is meant.
Json* RowOfFormat::find(std::string_view name) {
    Json* found = nullptr;
    for (Field& field : fields_) {
        if (field.name != name || field.value.is_null()) continue;
        require(!found, "the field ", in_quotes(name), " appears twice; keep one of them");
        found = &field.value;
    }
    return found;
}

Json RowOfFormat::take(std::string_view name) {
    Json* found = find(name);
    Json value = found ? std::move(*found) : Json();
    std::erase_if(fields_, [&](const Field& field) { return field.name == name; });
    return value;
}

std::string RowOfFormat::text(std::string_view name) {
    Json value = take(name);
    require(value.is_string(), "the field ", in_quotes(name), " is ", kind_of(value), ", but the format ", format_.name,
            " has a string there");
    return std::move(value.get_ref<std::string&>());
}

std::string RowOfFormat::said(std::string_view name) {
    std::string words(trim(text(name)));
    require(!words.empty(), "the field ", in_quotes(name), " is blank; fill it in, or leave the row out");
    return words;
}

std::vector<std::string> RowOfFormat::list(std::string_view name) {
    Json value = take(name);
    if (value.is_string()) value = parsed(name, value);
    const auto is_text = [](const Json& entry) { return entry.is_string(); };
    require(value.is_array() && std::ranges::all_of(value, is_text), "the field ", in_quotes(name), " is ",
            kind_of(value), ", but the format ", format_.name, " has a list of strings there");
    std::vector<std::string> texts;
    for (Json& entry : value) texts.emplace_back(trim(entry.get_ref<const std::string&>()));
    return texts;
}

std::optional<int64_t> RowOfFormat::number(std::string_view name) {
    Json value = take(name);
    if (value.is_string()) value = parsed(name, value);
    require(value.is_null() || is_integer(value), "the field ", in_quotes(name), " is ", kind_of(value),
            ", but the format ", format_.name, " has a whole number there");
    return value.is_null() ? std::nullopt : std::optional(value.get<int64_t>());
}

FormattedRow RowOfFormat::with(std::vector<Field> made, Choices choices) {
    for (Field& field : fields_)
        if (std::ranges::find(format_.unread, field.name) == format_.unread.end()) made.push_back(std::move(field));
    return {std::move(made), std::move(choices)};
}

}  // namespace llmc
