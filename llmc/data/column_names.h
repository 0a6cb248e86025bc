// Which columns are read, and what the files of a run call them.
#pragma once

#include <string>
#include <vector>

namespace llmc {

// A column `theirs` of a file is read as `ours`; a column that is called `ours` there is not read.
struct ColumnName {
    std::string ours, theirs;
};

// The names of all columns that are read, ascending.
std::vector<std::string> known_columns();

// "input=question, output=reply": ours, and what files call it; "" names none. Throws Error, without saying where the
// text comes from, for anything else, a name of ours that is not read, and a name that stands twice.
std::vector<ColumnName> parse_column_names(const std::string& text);

}  // namespace llmc
