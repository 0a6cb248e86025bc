// What a record of a data file says, whatever the format of the file.
//
// A row (a JSON object, a line of a CSV file) has named fields. The first of these sets of columns that is complete in
// the row decides what the record is; all other columns are ignored. A field counts as absent if it is null, an empty
// list of messages, or an empty cell under input_ids or labels.
//
//   input_ids [labels]             tokens, taken as they are; without labels every token is its own label
//   messages, or conversations     a list of messages with role and content, or from and value: an optional system
//                                  message, which may stand in a column `system` as well, then user and assistant in
//                                  turn, the assistant last
//   instruction [input] output     source = instruction, or instruction + "\n" + input if input is not empty
//   input output
//   prompt completion              texts; or lists of messages, which together are a conversation
//   question answer
//   text                           no source: all of it is target
//
// So a file that is tokenised already is never tokenised again, and Alpaca's files, which repeat instruction and output
// in a column `text`, are read as instructions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "llmc/tokenizer/conversation.h"

namespace llmc {

// A field as in the file. `text` holds the string; for `other` what is there instead ("a number"); for `messages` what
// is wrong with one of them, or nothing.
struct Field {
    enum class Type { null, text, ids, messages, other };
    std::string name;
    Type type = Type::null;
    std::string text;
    std::vector<int64_t> ids;
    std::vector<Message> messages;
};

struct Record {
    enum class Kind { pair, text, tokens, conversation };
    Kind kind = Kind::pair;
    std::string source, target;              // pair, conversation of one turn: both; text: target
    std::vector<int32_t> input_ids, labels;  // tokens
    std::vector<Message> messages;           // conversation
    int64_t index = 0;                       // in the file, from 0
    std::string where;                       // "train.jsonl:12" or, in a .json file, "train.json: record 12"
};

// Whether a list of objects under this name is a conversation.
bool holds_messages(std::string_view name);

// Throws Error, without naming the place, for an id that is not below vocab_size (0: unknown, any id that fits 32
// bits).
Record to_record(std::vector<Field> fields, int64_t vocab_size);

// A name as messages quote it, "name": cut if it is long, without control characters or bytes that are not UTF-8.
std::string quoted(std::string_view text);

}  // namespace llmc
