// Data sets that people have, each in the columns that its publishers gave it. A format turns such a row into one of
// the columns that are read anyway (record.h), and names the metrics that belong to it. table.cpp has a row for each.
//
// Without a name a format is recognised by its columns, where no other meaning of them is likely; the first row of a
// file decides. Every row of a file has the same format.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "llmc/data/choices.h"
#include "llmc/data/field.h"
#include "llmc/metrics/metric.h"

namespace llmc {

// A row as the reader takes it: a pair in the columns input and output, messages, or text.
struct FormattedRow {
    std::vector<Field> fields;
    Choices choices;
};

class RowOfFormat;

struct DataFormat {
    const char* name;
    std::vector<const char*> columns;  // that every row must have
    std::vector<const char*> unread;   // that published rows have beside them, and that say nothing to a model
    // Columns that together mean this format and no other; empty: it must be named. `alone`: a row with any column
    // but these is of another format.
    std::vector<const char*> recognised_by;
    bool alone = false;
    const char *prompt, *answer;  // what the model sees and what it is to say, in words
    std::vector<Metric> metrics;
    bool may_be_cut = false;  // long texts come in pieces
    FormattedRow (*convert)(RowOfFormat& row);
};

std::span<const DataFormat> data_formats();
std::vector<std::string> data_format_names();

struct FormatOptions {
    std::string name = "auto";  // of a format; or one of the two below
    uint64_t seed = 0;          // of the order of a question's options, where the file has the right one first
};
inline constexpr const char *kFormatOfColumns = "auto", *kNoFormat = "none";

// The format of one file.
class FormatReader {
  public:
    // Throws Error for a name that is none.
    explicit FormatReader(const FormatOptions& options);

    // index: of the row in the file, from 0. Rows of no format come back as they are. Throws Error, without naming the
    // place, for a row that does not have the format's columns.
    FormattedRow apply(std::vector<Field> fields, int64_t index);

    // Null until the first row of a file whose columns are those of no format, and from then on.
    const DataFormat* format() const { return format_; }

  private:
    const DataFormat* format_ = nullptr;
    uint64_t seed_;
    bool by_columns_ = false;
    bool decided_ = false;
};

}  // namespace llmc
