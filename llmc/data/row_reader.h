// The formats behind llmc/data/reader.h: each function finds the rows of a stream and hands over their fields.
#pragma once

#include <functional>
#include <istream>
#include <string>
#include <vector>

#include "llmc/data/record.h"

namespace llmc {

struct RowSink {
    std::string file;                                                                // for messages
    std::function<void(const std::string& where, std::vector<Field>&& fields)> row;  // in the order of the file
    std::function<void(const std::string& where, const std::string& problem)> bad;   // a row that is not one
};

// One object a line.
void read_json_lines(std::istream& in, const RowSink& sink);
// One array of objects.
void read_json_array(std::istream& in, const RowSink& sink);
// RFC 4180: a quoted cell may hold the delimiter, line breaks and, doubled, quotes. A quote inside a cell that does not
// start with one is an ordinary character, as in Python's csv module.
void read_delimited(std::istream& in, char delimiter, const RowSink& sink);

}  // namespace llmc
