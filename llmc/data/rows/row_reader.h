// The formats behind llmc/data/reader.h: each function finds the rows of a stream and hands over their fields.
#pragma once

#include <cstdint>
#include <functional>
#include <istream>
#include <string>
#include <vector>

#include "llmc/data/field.h"

namespace llmc {

// A longer row is an error: it is a mistake, such as a file without line ends, and would fill the memory.
constexpr int64_t kMostRowBytes = int64_t{64} << 20;

struct Row {
    std::string where;          // "train.jsonl:12" or, in a .json file, "train.json: record 12"
    std::vector<Field> fields;  // in the order of the file
    int64_t bytes = 0;          // of the fields, about
};

struct RowSink {
    std::string file;                                                               // for messages
    std::function<void(Row&&)> row;                                                 // in the order of the file
    std::function<void(const std::string& where, const std::string& problem)> bad;  // a row that is not one
};

// One object a line. `first_line`: the number of the line that the stream is at.
void read_json_lines(std::istream& in, const RowSink& sink, int64_t first_line = 1);
// One array of objects. The same.
void read_json_array(std::istream& in, const RowSink& sink, int64_t first_line = 1);
// RFC 4180: a quoted cell may hold the delimiter, line breaks and, doubled, quotes. A quote inside a cell that does not
// start with one is an ordinary character, as in Python's csv module.
void read_delimited(std::istream& in, char delimiter, const RowSink& sink);

}  // namespace llmc
