// The kinds of records behind to_records() of llmc/data/record.h, each from the columns that make it up.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "llmc/data/records/columns.h"

namespace llmc {

// A row of token ids. Padding is left out. A row that packs several sequences becomes a record for each.
std::vector<Record> token_records(Columns& columns, int64_t vocab_size);

// A list of messages in `column`.
Record conversation_record(Columns& columns, const std::string& column, ReadingNotes& notes);

// A prompt and its completion, both lists of messages. Only the completion's answers carry a loss.
Record prompted_conversation_record(Columns& columns, ReadingNotes& notes);

// A source and a target in two columns of text.
Record pair_record(Columns& columns, const std::string& source, const std::string& target);

// Columns that stand beside conversations and beside pairs. "" and null where they are absent.
std::string take_system(Columns& columns);
void take_template_columns(Columns& columns, Conversation& conversation);

}  // namespace llmc
