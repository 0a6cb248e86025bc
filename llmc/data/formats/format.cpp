#include "llmc/data/formats/format.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "llmc/core/error.h"
#include "llmc/data/formats/row_of_format.h"

namespace llmc {

std::vector<std::string> data_format_names() {
    std::vector<std::string> names;
    for (const DataFormat& format : data_formats()) names.emplace_back(format.name);
    return names;
}

namespace {

const DataFormat* find_format(std::string_view name) {
    const auto formats = data_formats();
    const auto found = std::ranges::find_if(formats, [&](const DataFormat& format) { return format.name == name; });
    return found == formats.end() ? nullptr : &*found;
}

bool is_of(const DataFormat& format, const std::vector<Field>& fields) {
    const auto has = [&](std::string_view name) {
        return std::ranges::any_of(fields, [&](const Field& f) { return f.name == name && !f.value.is_null(); });
    };
    return !format.recognised_by.empty() && std::ranges::all_of(format.recognised_by, has) &&
           (!format.alone || fields.size() == format.recognised_by.size());
}

const DataFormat* recognise(const std::vector<Field>& fields) {
    const auto formats = data_formats();
    const auto found = std::ranges::find_if(formats, [&](const DataFormat& format) { return is_of(format, fields); });
    return found == formats.end() ? nullptr : &*found;
}

}  // namespace

FormatReader::FormatReader(const FormatOptions& options)
    : format_(find_format(options.name)),
      seed_(options.seed),
      by_columns_(options.name == kFormatOfColumns),
      decided_(!by_columns_) {
    require(format_ || by_columns_ || options.name == kNoFormat, "there is no data format ", in_quotes(options.name));
}

FormattedRow FormatReader::apply(std::vector<Field> fields, int64_t index) {
    if (!decided_) format_ = recognise(fields);
    decided_ = true;
    if (!format_) return {std::move(fields), {}};
    try {
        RowOfFormat row(*format_, std::move(fields), seed_, index);
        return format_->convert(row);
    } catch (const Error& error) {
        if (!by_columns_) throw;
        fail(error.what(), " (the columns of the file's first row are those of the format ", format_->name, ")");
    }
}

}  // namespace llmc
