// The columns of one row, taken by name, and what is to be said about those that nobody takes.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "llmc/data/record.h"

namespace llmc {

class Columns {
  public:
    // Renames the fields as `names` has it.
    Columns(std::vector<Field> fields, const std::vector<ColumnName>& names);

    // Whether the row has such a field that says something. Throws Error if it has two.
    bool has(std::string_view name) const { return find(name) != nullptr; }
    // Null if absent.
    const Json* look_at(std::string_view name) const;
    // The value, and the column counts as read. Null if absent.
    Json* take(std::string_view name);
    // The same for a string: "" if absent. Throws Error if it is something else.
    std::string take_text(std::string_view name);
    // The same for a value that may stand in a string as JSON text; null if absent.
    Json take_tree(std::string_view name);

    // "\"a\", \"b\" (null)" for messages.
    std::string list() const;
    // "input=prompt_text,output=reply": a guess at which columns are meant; "" if there is none.
    std::string guess() const;

    // Notes the columns that were not taken, and throws Error for one that must not be dropped. `tokens`: the row is
    // one of token ids, beside which more columns mean something.
    void finish(bool tokens, ReadingNotes& notes) const;

  private:
    struct Column {
        Field field;
        std::string theirs = {};  // its name in the file, if that is another
        bool hidden = false;      // by one that was renamed
        bool taken = false;
    };
    const Column* find(std::string_view name) const;

    std::vector<Column> columns_;
};

// Whether a name has a part, between underscores, that speaks of a loss or of who sees what: loss_weights, train_mask.
bool names_a_mark(std::string_view name);

// Whether a value says what its absence says: 1 or true, or a list of such.
bool is_neutral_mark(const Json& value);

// Whether a field says anything: not null, and no empty string, list or object.
bool says_something(const Json& value);

// What a field that is text holds as JSON.
Json parse_text(std::string_view column, const std::string& text);

}  // namespace llmc
