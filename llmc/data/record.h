// What one record of a data file says, whatever the file's format.
//
// A row (a JSON object, a line of a CSV file) has named fields. The first of these sets whose columns the row all has
// decides what the record is; every other column is ignored. A field that is null, or an empty cell under input_ids or
// labels, counts as absent.
//
//   input_ids [labels]             tokens, taken as they are; without labels every token is its own label
//   instruction [input] output     source = instruction, or instruction + "\n" + input when input is not empty
//   input output
//   prompt completion
//   question answer
//   text                           no source: all of it is target
//
// So a file that was already tokenised is never tokenised again, and Alpaca's files, which repeat their instruction and
// output in a column `text`, are read as instructions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace llmc {

// A field as the file has it. `text` holds the string or, for `other`, what is there instead ("a number").
struct Field {
    enum class Type { null, text, ids, other };
    std::string name;
    Type type = Type::null;
    std::string text;
    std::vector<int64_t> ids;
};

struct Record {
    enum class Kind { pair, text, tokens };
    Kind kind = Kind::pair;
    std::string source, target;              // pair: both; text: target
    std::vector<int32_t> input_ids, labels;  // tokens
    int64_t index = 0;                       // in the file, from 0
    std::string where;                       // "train.jsonl:12" or, in a .json file, "train.json: record 12"
};

// Ids must be below vocab_size; 0: unknown, any id that fits 32 bits will do. Throws Error without the place.
Record to_record(std::vector<Field> fields, int64_t vocab_size);

// "name" for a message: cut when it is long, without control characters or bytes that are not UTF-8.
std::string quoted(std::string_view text);

}  // namespace llmc
