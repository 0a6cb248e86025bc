#include "llmc/data/record.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "llmc/core/error.h"
#include "llmc/core/program.h"
#include "llmc/data/records/kinds.h"

namespace llmc {
namespace {

constexpr const char* kAcceptedColumns =
    "input_ids (and labels), messages, instruction (and input) and output, input and output, prompt and completion, "
    "question and answer, or text";

struct ColumnPair {
    const char* source;
    const char* target;
};
constexpr std::array<ColumnPair, 4> kColumnPairs = {
    {{"instruction", "output"}, {"input", "output"}, {"prompt", "completion"}, {"question", "answer"}}};

constexpr std::array<const char*, 2> kConversations = {"messages", "conversations"};

bool is_list_of_objects(const Json* value) {
    return value && value->is_array() && !value->empty() && value->front().is_object();
}

// For a row without a complete set of columns: what is wrong with a field that should have been a conversation.
void check_for_messages(const Columns& columns) {
    for (const char* name : kConversations) {
        const Json* value = columns.look_at(name);
        if (!value) continue;
        require(!value->is_array() || !value->empty(), "the field ", in_quotes(name), ": holds no message");
        fail("the field ", in_quotes(name), " is ", kind_of(*value),
             ", but must be a list of objects with role and content; .csv and .tsv files cannot hold conversations, "
             "write them as .jsonl");
    }
}

std::string advice(const Columns& columns) {
    const std::string guess = columns.guess();
    return concat("; or name yours with ", program().columns, " ", guess.empty() ? "input=NAME,output=NAME" : guess);
}

// Pairs of a question and its answer.
std::vector<std::pair<std::string, std::string>> take_history(Columns& columns) {
    const Json turns = columns.take_tree("history");
    if (turns.is_null()) return {};
    const auto is_turn = [](const Json& turn) {
        return turn.is_array() && turn.size() == 2 && turn[0].is_string() && turn[1].is_string();
    };
    require(turns.is_array() && std::ranges::all_of(turns, is_turn),
            R"(the field "history" must be a list of earlier turns such as ["a question", "its answer"])");
    std::vector<std::pair<std::string, std::string>> history;
    for (const Json& turn : turns) history.emplace_back(turn[0].get<std::string>(), turn[1].get<std::string>());
    return history;
}

// Both parts, on lines of their own.
std::string lines(const std::string& first, const std::string& second) {
    return first.empty() || second.empty() ? first + second : concat(first, "\n", second);
}

Record text_record(Columns& columns) {
    Record record;
    record.kind = Record::Kind::text;
    record.target = columns.take_text("text");
    return record;
}

std::vector<Record> one(Record&& record) {
    std::vector<Record> records;
    records.push_back(std::move(record));
    return records;
}

std::vector<Record> records_of(Columns& columns, const RecordOptions& options, ReadingNotes& notes) {
    if (const Json* ids = columns.look_at("input_ids"); ids && *ids != "")
        return token_records(columns, options.vocab_size);
    for (const char* name : kConversations)
        if (is_list_of_objects(columns.look_at(name))) return one(conversation_record(columns, name, notes));
    for (const auto& [source, target] : kColumnPairs) {
        if (!columns.has(source) || !columns.has(target)) continue;
        if (is_list_of_objects(columns.look_at(source)) && is_list_of_objects(columns.look_at(target)) &&
            std::string_view(source) == "prompt")
            return one(prompted_conversation_record(columns, notes));
        return one(pair_record(columns, source, target));
    }
    if (columns.has("text")) return one(text_record(columns));
    check_for_messages(columns);
    fail("no known set of columns: found ", columns.list(), "; wanted ", kAcceptedColumns, advice(columns));
}

}  // namespace

Record pair_record(Columns& columns, const std::string& source, const std::string& target) {
    Record record;
    record.kind = Record::Kind::pair;
    record.source = columns.take_text(source);
    record.target = columns.take_text(target);
    const std::string context = columns.take_text("context");
    if (source == "instruction") {
        record.instruction = record.source;
        record.input = columns.take_text("input");
        record.source = lines(record.instruction, record.input);
        record.input = lines(context, record.input);
    }
    record.source = lines(context, record.source);
    record.system = take_system(columns);
    record.history = take_history(columns);
    take_template_columns(columns, record.conversation);
    return record;
}

std::string plain_source(const Record& pair) {
    const auto check = [](bool ok, const char* column) {
        require(ok, "the field ", in_quotes(column), " needs a chat template that lays it out; choose one with ",
                program().chat_template);
    };
    check(pair.history.empty(), "history");
    check(pair.conversation.tools.is_null(), "tools");
    check(pair.conversation.template_arguments.is_null(), "chat_template_kwargs");
    return lines(pair.system, pair.source);
}

void ReadingNotes::add(Names& names, const std::string& name) {
    if (std::ranges::find(names.first, name) != names.first.end()) return;
    if (names.first.size() < kMostNames)
        names.first.push_back(name);
    else
        names.more = true;
}

bool ReadingNotes::has_message_field(const std::string& name) const {
    return std::ranges::find(message_fields_.first, name) != message_fields_.first.end();
}

std::string ReadingNotes::list(const Names& names) {
    std::string text;
    for (const std::string& name : names.first) text += (text.empty() ? "" : ", ") + in_quotes(name);
    return text + (names.more ? " and more" : "");
}

std::vector<std::string> ReadingNotes::sentences() const {
    std::vector<std::string> all;
    if (!unread_columns_.first.empty()) all.push_back("columns that nothing reads: " + list(unread_columns_));
    if (!message_fields_.first.empty())
        all.push_back("fields of messages that only a chat template may read: " + list(message_fields_));
    if (!missing_columns_.first.empty())
        all.push_back(concat("columns that ", program().columns, " names and no row has: ", list(missing_columns_)));
    if (parsed_arguments_ > 0)
        all.push_back(concat("the arguments of ", parsed_arguments_,
                             " calls of tools are JSON as text; templates get the object"));
    return all;
}

std::vector<Record> to_records(std::vector<Field> fields, const RecordOptions& options, ReadingNotes& notes) {
    Columns columns(std::move(fields), options.columns);
    std::vector<Record> records = records_of(columns, options, notes);
    const bool tokens = !records.empty() && records.front().kind == Record::Kind::tokens;
    columns.finish(tokens, notes);
    return records;
}

}  // namespace llmc
