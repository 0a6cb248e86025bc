// Conversations: of lists of messages, and of a source and a target with what comes before them.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "llmc/core/error.h"
#include "llmc/data/records/kinds.h"
#include "llmc/data/records/message.h"

namespace llmc {
namespace {

// Collects the messages of a row and what is said about their losses.
class ConversationBuilder {
  public:
    // `where`: the fields that the messages come from, for errors.
    ConversationBuilder(std::string where, ReadingNotes& notes) : where_(std::move(where)), notes_(notes) {}

    // `may_train`: whether an answer of this list carries a loss where nothing says otherwise.
    void add_messages(Json& list, const std::string& column, bool may_train) {
        require(list.is_array(), "the field ", in_quotes(column), " is ", kind_of(list));
        for (size_t i = 0; i < list.size(); ++i) {
            const std::string where = concat("the field ", in_quotes(column), ": message ", i + 1);
            ReadMessage read = read_message(list[i], where, notes_);
            require(read.is_answer() || !read.mark.value_or(false), where,
                    " is no answer of the assistant, but a field of it asks for a loss on it; remove that field");
            is_marked_ |= read.mark == false;
            if (read.is_answer() && !read.mark && !may_train) read.mark = false;
            marks_.push_back(read.mark);
            messages_.push_back(std::move(read.message));
        }
    }

    // A list beside the messages, with a number for each.
    void add_marks(const Json& list, const std::string& name) {
        require(list.is_array() && list.size() == marks_.size(), "the field ", in_quotes(name),
                list.is_array() ? concat(" has ", list.size(), " entries") : " is " + kind_of(list),
                ", but must be a list with a number for each of the ", marks_.size(), " messages");
        for (size_t i = 0; i < list.size(); ++i) {
            const std::string where = concat(where_, ": message ", i + 1);
            const bool trained = mark_value(list[i], where, name);
            require(!trained || messages_[i]["role"] == "assistant", where, " is no answer of the assistant, but ",
                    in_quotes(name), " has a 1 for it, which asks for a loss on it; make it 0");
            require(marks_[i].value_or(trained) == trained, where, " has a mark that contradicts ", in_quotes(name),
                    "; keep one of them");
            marks_[i] = trained;
            is_marked_ |= !trained;
        }
    }

    void add_system(const std::string& system) {
        if (system.empty()) return;
        for (const Json& message : messages_) {
            if (message["role"] != "system") continue;
            require(message.contains("content") && message["content"] == system, where_,
                    ": it has a system message, and the row has another one in a column; keep one of them");
            return;
        }
        messages_.insert(messages_.begin(), Json{{"role", "system"}, {"content", system}});
        marks_.insert(marks_.begin(), std::nullopt);
    }

    Conversation finish() {
        require(!messages_.empty(), where_, ": holds no message");
        const std::string& last = messages_.back()["role"].get_ref<const std::string&>();
        require(last == "assistant", where_, ": its last message is the ",
                last == "user" || last == "system" ? last : in_quotes(last),
                "'s, which nobody answers; end it with the assistant's");
        Conversation conversation;
        if (std::ranges::find(marks_, std::optional(false)) != marks_.end())
            for (const std::optional<bool>& mark : marks_) conversation.trained.push_back(mark.value_or(true));
        conversation.messages = std::move(messages_);
        conversation.is_marked = is_marked_;
        return conversation;
    }

  private:
    const std::string where_;
    ReadingNotes& notes_;
    Json messages_ = Json::array();
    std::vector<std::optional<bool>> marks_;  // of each message
    bool is_marked_ = false;                  // Conversation::is_marked
};

bool is_text(const Json& message, std::string_view role) {
    return message["role"] == role && message.contains("content") && message["content"].is_string();
}

// A question, perhaps after a system message, and its answer are also a source and a target.
void set_source_and_target(Record& record) {
    const Json& messages = record.conversation.messages;
    const size_t first = messages.front()["role"] == "system" ? 1 : 0;
    if (messages.size() != first + 2 || !is_text(messages[first], "user") || !is_text(messages[first + 1], "assistant"))
        return;
    record.source = messages[first]["content"].get<std::string>();
    record.target = messages[first + 1]["content"].get<std::string>();
}

Record finish_record(Columns& columns, ConversationBuilder& builder) {
    for (const char* name : {"loss_mask", "weights"})
        if (const Json* list = columns.take(name); list && says_something(*list)) builder.add_marks(*list, name);
    for (const char* name : {"history", "context"}) {
        const Json* value = columns.take(name);
        require(!value || !says_something(*value), "the field ", in_quotes(name),
                " stands beside a list of messages, which has no place for it; write it into the messages");
    }
    builder.add_system(take_system(columns));
    Record record;
    record.kind = Record::Kind::conversation;
    record.conversation = builder.finish();
    take_template_columns(columns, record.conversation);
    set_source_and_target(record);
    return record;
}

Json message(const char* role, const std::string& content) {
    return Json{{"role", role}, {"content", content}};
}

}  // namespace

std::string take_system(Columns& columns) {
    std::string system = columns.take_text("system"), prompt = columns.take_text("system_prompt");
    require(system.empty() || prompt.empty() || system == prompt,
            "the fields \"system\" and \"system_prompt\" hold different texts; keep one of them");
    return system.empty() ? prompt : system;
}

void take_template_columns(Columns& columns, Conversation& conversation) {
    Json tools = columns.take_tree("tools");
    const auto is_object = [](const Json& tool) { return tool.is_object(); };
    require(tools.is_null() || (tools.is_array() && std::ranges::all_of(tools, is_object)), "the field \"tools\" is ",
            kind_of(tools), ", but must be a list of objects, one for each tool");
    conversation.tools = std::move(tools);
    Json arguments = columns.take_tree("chat_template_kwargs");
    require(arguments.is_null() || arguments.is_object(), "the field \"chat_template_kwargs\" is ", kind_of(arguments),
            ", but must be an object with the template's variables");
    if (says_something(arguments)) conversation.template_arguments = std::move(arguments);
}

Record conversation_record(Columns& columns, const std::string& column, ReadingNotes& notes) {
    ConversationBuilder builder(concat("the field ", in_quotes(column)), notes);
    builder.add_messages(*columns.take(column), column, /*may_train=*/true);
    return finish_record(columns, builder);
}

Record prompted_conversation_record(Columns& columns, ReadingNotes& notes) {
    ConversationBuilder builder("the fields \"prompt\" and \"completion\"", notes);
    builder.add_messages(*columns.take("prompt"), "prompt", /*may_train=*/false);
    builder.add_messages(*columns.take("completion"), "completion", /*may_train=*/true);
    return finish_record(columns, builder);
}

Conversation to_conversation(const Record& pair) {
    Conversation conversation = pair.conversation;
    conversation.messages = Json::array();
    Json& messages = conversation.messages;
    if (!pair.system.empty()) messages.push_back(message("system", pair.system));
    for (const auto& [said, answer] : pair.history) {
        messages.push_back(message("user", said));
        messages.push_back(message("assistant", answer));
    }
    messages.push_back(message("user", pair.source));
    if (!pair.instruction.empty()) {
        messages.back()["instruction"] = pair.instruction;
        messages.back()["input"] = pair.input;
    }
    messages.push_back(message("assistant", pair.target));
    return conversation;
}

}  // namespace llmc
