// What a row of a data file says, whatever the format of the file.
//
// A row (a JSON object, a line of a CSV file) has named fields. The first of these sets of columns that is complete in
// the row decides what it is:
//
//   input_ids [labels]             tokens, taken as they are; without labels every token is its own label
//   messages, or conversations     a list of messages with role and content, or from and value, the assistant's last
//   instruction [input] output     source = instruction, or instruction + "\n" + input if input is not empty
//   input output
//   prompt completion              texts; or lists of messages, which together are a conversation
//   question answer
//   text                           no source: all of it is target
//
// So a file that is tokenised already is never tokenised again, and Alpaca's files, which repeat instruction and output
// in a column `text`, are read as instructions. What may stand beside them:
//
//   beside tokens          attention_mask, completion_mask, assistant_masks, loss_mask, position_ids, seq_lengths
//   beside messages        system or system_prompt, tools, chat_template_kwargs; loss_mask or weights, a list with a
//                          number for each message
//   beside pairs           system or system_prompt, history, context, tools, chat_template_kwargs
//   in a message           weight, train, training, trainable, loss, loss_mask, train_on_turn, masked
//
// A field counts as absent if it is null, or where it says nothing: an empty list or cell. Other columns are not read;
// their names are noted. But one that by its name says which tokens carry a loss, or what the model is to see, is an
// error: to drop it would train on something else than the file asks for.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "llmc/chat/conversation.h"
#include "llmc/data/choices.h"
#include "llmc/data/column_names.h"
#include "llmc/data/field.h"

namespace llmc {

struct Record {
    enum class Kind { pair, text, tokens, conversation };
    Kind kind = Kind::pair;

    // pair: what the user says and the answer; text: target; a conversation of one turn: both.
    std::string source, target;
    // pair: what comes before the source, and its parts where the row has a column `instruction`.
    std::string system;
    std::vector<std::pair<std::string, std::string>> history;  // what the user said, and the answer
    std::string instruction, input;

    Conversation conversation;               // conversation: all of it; pair: tools and template_arguments
    std::vector<int32_t> input_ids, labels;  // tokens
    Choices choices;                         // pair: the options where it is a question of such
    bool may_be_cut = false;                 // text: pieces of one that is too long are of use

    int64_t index = 0;  // of its row in the file, from 0; several sequences of tokens may share one
    int64_t bytes = 0;  // of the row, about
    std::string where;  // "train.jsonl:12" or, in a .json file, "train.json: record 12"
};

// A pair as the conversation that a chat template lays out: system, earlier turns, user, assistant. Each answer may be
// in the loss. The last user's message also carries the parts of an instruction, `instruction` and `input`.
Conversation to_conversation(const Record& pair);

// A pair's source where there is no template: the system message stands before it, on lines of its own. Throws Error,
// without naming the place, if the pair has what only a template can lay out: earlier turns or tools.
std::string plain_source(const Record& pair);

// What a person is to be told about a file, once for all of its rows.
class ReadingNotes {
  public:
    void add_unread_column(const std::string& name) { add(unread_columns_, name); }
    void add_message_field(const std::string& name) { add(message_fields_, name); }
    // Whether it was added, and is among those that are named.
    bool has_message_field(const std::string& name) const;
    void add_missing_column(const std::string& name) { add(missing_columns_, name); }
    void count_parsed_arguments() { ++parsed_arguments_; }

    // One each: "columns that nothing reads: "id", "source"". Without the name of the file.
    std::vector<std::string> sentences() const;

  private:
    static constexpr size_t kMostNames = 50;
    struct Names {
        std::vector<std::string> first;  // in the order of the file
        bool more = false;
    };
    static void add(Names& names, const std::string& name);
    static std::string list(const Names& names);

    Names unread_columns_, message_fields_, missing_columns_;
    int64_t parsed_arguments_ = 0;
};

struct RecordOptions {
    int64_t vocab_size = 0;           // ids must be below; 0: unknown, any id that fits 32 bits
    std::vector<ColumnName> columns;  // what the file calls them
};

// One record; of a row of tokens that packs several sequences, one for each. `index`, `bytes` and `where` are left to
// the caller. Throws Error, without naming the place.
std::vector<Record> to_records(std::vector<Field> fields, const RecordOptions& options, ReadingNotes& notes);

}  // namespace llmc
