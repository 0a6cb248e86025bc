#include "llmc/data/record.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <iterator>
#include <limits>
#include <optional>
#include <span>

#include "llmc/core/error.h"
#include "llmc/data/batch.h"
#include "llmc/tokenizer/utf8.h"

namespace llmc {
namespace {

constexpr const char* kAcceptedColumns =
    "input_ids (and labels), messages, instruction (and input) and output, input and output, prompt and completion, "
    "question and "
    "answer, or text";

struct ColumnPair {
    const char* source;
    const char* target;
};
constexpr std::array<ColumnPair, 4> kColumnPairs = {
    {{"instruction", "output"}, {"input", "output"}, {"prompt", "completion"}, {"question", "answer"}}};

// Null if the field is absent. Two fields of one name are an error: nobody can tell which is meant.
Field* find(std::vector<Field>& fields, std::string_view name) {
    Field* found = nullptr;
    for (Field& field : fields) {
        if (field.name != name) continue;
        require(!found, "the field ", quoted(name), " appears twice; keep one of them");
        found = &field;
    }
    return found && found->type != Field::Type::null ? found : nullptr;
}

std::string what(const Field& field) {
    switch (field.type) {
        case Field::Type::null:
            return "null";
        case Field::Type::text:
            return "a string";
        case Field::Type::ids:
            return "a list of integers";
        case Field::Type::messages:
            return "a list of objects";
        case Field::Type::other:
            break;
    }
    return field.text;
}

std::string columns(const std::vector<Field>& fields) {
    constexpr size_t kMost = 20;
    std::string list;
    for (size_t i = 0; i < std::min(fields.size(), kMost); ++i) {
        list += (i ? ", " : "") + quoted(fields[i].name);
        if (fields[i].type == Field::Type::null) list += " (null)";
    }
    if (fields.size() > kMost) list += concat(" and ", fields.size() - kMost, " more");
    return fields.empty() ? "none" : list;
}

std::string take_text(Field& field) {
    require(field.type == Field::Type::text, "the field ", quoted(field.name), " is ", what(field),
            ", but must be a string; put the text in quotes");
    return std::move(field.text);
}

// A list as a CSV cell holds it, "[1, 2, 3]"; numpy writes it without the commas.
std::vector<int64_t> parse_ids(std::string_view name, std::string_view cell) {
    constexpr std::string_view kSpace = " \t\r\n";
    const auto skip_space = [&] { cell.remove_prefix(std::min(cell.find_first_not_of(kSpace), cell.size())); };
    const auto check = [&](bool ok) {
        require(ok, "the field ", quoted(name), " must be a list of token ids such as [1, 2, 3], but goes on with ",
                cell.empty() ? "nothing" : quoted(cell));
    };
    std::vector<int64_t> ids;
    skip_space();
    check(cell.starts_with('['));
    cell.remove_prefix(1);
    for (skip_space(); !cell.starts_with(']'); skip_space()) {
        int64_t id = 0;
        const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), id);
        const size_t length = end - cell.data();
        // What follows must end the number: 2.5 is not 2.
        check(error == std::errc() && length < cell.size() &&
              (kSpace.find(cell[length]) != kSpace.npos || cell[length] == ',' || cell[length] == ']'));
        ids.push_back(id);
        cell.remove_prefix(length);
        skip_space();
        if (!cell.starts_with(',')) continue;
        cell.remove_prefix(1);
        skip_space();
        check(!cell.starts_with(']'));
    }
    cell.remove_prefix(1);
    skip_space();
    check(cell.empty());
    return ids;
}

// The field as a list of integers; nothing if it is absent.
std::optional<std::vector<int64_t>> take_ids(std::vector<Field>& fields, const char* name) {
    Field* field = find(fields, name);
    if (!field || (field->type == Field::Type::text && field->text.empty())) return std::nullopt;
    if (field->type == Field::Type::text) return parse_ids(name, field->text);
    require(field->type == Field::Type::ids, "the field ", quoted(name), " is ", what(*field),
            ", but must be a list of token ids, all integers");
    return std::move(field->ids);
}

// Checks the range of every id; -100 is allowed among labels only.
std::vector<int32_t> to_tokens(const char* name, const std::vector<int64_t>& ids, int64_t vocab_size, bool labels) {
    const int64_t limit = vocab_size > 0 ? vocab_size : int64_t{std::numeric_limits<int32_t>::max()} + 1;
    std::vector<int32_t> tokens(ids.size());
    for (size_t i = 0; i < ids.size(); ++i) {
        if ((ids[i] < 0 || ids[i] >= limit) && !(labels && ids[i] == kIgnoreLabel))
            fail("the field ", quoted(name), " has ", ids[i], " at position ", i, ", but token ids go from 0 to ",
                 limit - 1, labels ? " (-100: no loss)" : "",
                 ids[i] < 0 ? "" : "; was it tokenised for another model?");
        tokens[i] = static_cast<int32_t>(ids[i]);
    }
    return tokens;
}

// The role, under any of the names that data sets use for it; "" if unknown.
std::string known_role(std::string_view name) {
    if (name == "system" || name == "user" || name == "assistant") return std::string(name);
    return name == "human" ? "user" : name == "gpt" ? "assistant" : "";
}

std::vector<Message> take_messages(Field& field) {
    require(field.text.empty(), "the field ", quoted(field.name), ": ", field.text);
    return std::move(field.messages);
}

// `where`: the fields that the messages come from.
Record to_conversation(std::vector<Message> messages, const std::string& where) {
    const auto check = [&](bool ok, const auto&... problem) { require(ok, where, ": ", problem...); };
    for (size_t i = 0, spoken = 0; i < messages.size(); ++i) {
        std::string& role = messages[i].role;
        const std::string known = known_role(role);
        check(!known.empty(), "message ", i + 1, " has the role ", quoted(role),
              ", but only system, user (human) and assistant (gpt) are known");
        role = known;
        if (i == 0 && role == "system") continue;
        const char* due = spoken++ % 2 == 0 ? "user" : "assistant";
        check(role == due, "message ", i + 1, " is the ", role, "'s, but the ", due,
              "'s is due: user and assistant take turns, after one system message at most");
    }
    check(messages.back().role == "assistant", "its last message is the ", messages.back().role,
          "'s, which nobody answers; end it with the assistant's");
    Record record;
    record.kind = Record::Kind::conversation;
    record.messages = std::move(messages);
    const std::span<const Message> said = record.messages;
    if (const auto spoken = said.subspan(said.front().role == "system" ? 1 : 0); spoken.size() == 2) {
        record.source = spoken[0].content;
        record.target = spoken[1].content;
    }
    return record;
}

// ShareGPT files may have the system message in a column of its own.
Record with_system(Record conversation, std::vector<Field>& fields) {
    Field* field = find(fields, "system");
    std::string system = field ? take_text(*field) : "";
    std::vector<Message>& messages = conversation.messages;
    if (!system.empty() && messages.front().role != "system")
        messages.insert(messages.begin(), {"system", std::move(system)});
    return conversation;
}

constexpr std::array<const char*, 2> kConversations = {"messages", "conversations"};

// A list of objects under one of the names of conversations; null if there is none.
Field* find_messages(std::vector<Field>& fields) {
    for (const char* name : kConversations) {
        Field* field = find(fields, name);
        if (field && field->type == Field::Type::messages) return field;
    }
    return nullptr;
}

// For a row without a complete set of columns: what is wrong with a field that should have been a conversation.
void check_for_messages(std::vector<Field>& fields) {
    for (const char* name : kConversations) {
        const Field* field = find(fields, name);
        if (!field) continue;
        require(field->type != Field::Type::ids || !field->ids.empty(), "the field ", quoted(name),
                ": holds no message");
        fail("the field ", quoted(name), " is ", what(*field),
             ", but must be a list of objects with role and content; .csv and .tsv files cannot hold conversations, "
             "write them as .jsonl");
    }
}

// A prompt and its completion, both lists of messages. The completion's answers carry the loss, the prompt none.
Record join_messages(Field& prompt, Field& completion) {
    std::vector<Message> messages = take_messages(prompt);
    for (size_t i = 0; i < messages.size(); ++i)
        require(known_role(messages[i].role) != "assistant", "the field ", quoted(prompt.name), ": message ", i + 1,
                " is the assistant's, and every answer carries a loss here; where it may, join the two lists into one "
                "and call it \"messages\"");
    std::ranges::move(take_messages(completion), std::back_inserter(messages));
    return to_conversation(std::move(messages),
                           concat("the fields ", quoted(prompt.name), " and ", quoted(completion.name)));
}

// The mask itself is not needed, but a zero in it means padding, which would be trained on.
void check_no_padding(std::vector<Field>& fields) {
    const auto mask = take_ids(fields, "attention_mask");
    require(
        !mask || std::find(mask->begin(), mask->end(), 0) == mask->end(),
        "the field \"attention_mask\" has zeros: the row is padded; tokenise without padding, rows are packed here");
}

}  // namespace

std::string quoted(std::string_view text) {
    constexpr size_t kMost = 40;
    std::string clean = "\"";
    while (!text.empty()) {
        if (clean.size() > kMost) return clean + "...\"";
        const Utf8Sequence sequence = utf8_sequence(text);
        const bool control = static_cast<unsigned char>(text.front()) < ' ' || text.front() == 127;
        clean += sequence.kind == Utf8::valid && !control ? text.substr(0, sequence.length) : "?";
        text.remove_prefix(sequence.length);
    }
    return clean + "\"";
}

bool holds_messages(std::string_view name) {
    return name == "messages" || name == "conversations" || name == "prompt" || name == "completion";
}

Record to_record(std::vector<Field> fields, int64_t vocab_size) {
    Record record;
    if (const auto ids = take_ids(fields, "input_ids")) {
        record.kind = Record::Kind::tokens;
        record.input_ids = to_tokens("input_ids", *ids, vocab_size, false);
        const auto labels = take_ids(fields, "labels");
        require(!labels || labels->size() == ids->size(), "\"input_ids\" has ", ids->size(),
                " entries, but \"labels\" has ", labels ? labels->size() : 0,
                "; give each id a label, -100 where it has no loss");
        record.labels = labels ? to_tokens("labels", *labels, vocab_size, true) : record.input_ids;
        check_no_padding(fields);
        return record;
    }
    if (Field* field = find_messages(fields)) {
        const std::string where = concat("the field ", quoted(field->name));
        return with_system(to_conversation(take_messages(*field), where), fields);
    }
    for (const auto& [source_name, target_name] : kColumnPairs) {
        Field* source = find(fields, source_name);
        Field* target = find(fields, target_name);
        if (!source || !target) continue;
        if (source->type == Field::Type::messages && target->type == Field::Type::messages)
            return with_system(join_messages(*source, *target), fields);
        record.kind = Record::Kind::pair;
        record.source = take_text(*source);
        record.target = take_text(*target);
        if (std::string_view(source_name) == "instruction") {
            Field* input = find(fields, "input");
            const std::string more = input ? take_text(*input) : "";
            if (!more.empty()) record.source += "\n" + more;
        }
        return record;
    }
    if (Field* text = find(fields, "text")) {
        record.kind = Record::Kind::text;
        record.target = take_text(*text);
        return record;
    }
    check_for_messages(fields);
    fail("no known set of columns: found ", columns(fields), "; wanted ", kAcceptedColumns);
}

}  // namespace llmc
