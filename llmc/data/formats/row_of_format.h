// The columns of one row, as the conversions of a format take them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "llmc/data/formats/format.h"
#include "llmc/data/shuffle.h"

namespace llmc {

class RowOfFormat {
  public:
    // Throws Error, without naming the place, when a column of the format is missing or null.
    RowOfFormat(const DataFormat& format, std::vector<Field> fields, uint64_t seed, int64_t index);

    // The column's string, which is taken from the row. Throws Error if it is something else.
    std::string text(std::string_view name);
    // The same without white space at its ends. Throws Error if nothing is left.
    std::string said(std::string_view name);
    // The column's list of strings, or such a list as JSON text, as .csv files hold it.
    std::vector<std::string> list(std::string_view name);
    // The column's whole number, or nothing where the column is absent.
    std::optional<int64_t> number(std::string_view name);

    // Random numbers of this row.
    RandomSequence random() const { return {seed_, RandomStream::options, static_cast<uint32_t>(index_)}; }

    // What is left of the row, without what the format names as unread, and with these columns in front.
    FormattedRow with(std::vector<Field> made, Choices choices = {});

  private:
    Json* find(std::string_view name);
    Json take(std::string_view name);

    const DataFormat& format_;
    std::vector<Field> fields_;
    uint64_t seed_;
    int64_t index_;
};

}  // namespace llmc
