#include "llmc/data/records/message.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "llmc/core/error.h"
#include "llmc/core/nearest_name.h"
#include "llmc/data/records/columns.h"

namespace llmc {
namespace {

// Fields that say whether an answer carries a loss, and with which value it does.
struct Mark {
    std::string_view name;
    bool trained_when;
};
constexpr std::array<Mark, 8> kMarks = {{{"weight", true},
                                         {"train", true},
                                         {"training", true},
                                         {"trainable", true},
                                         {"loss", true},
                                         {"loss_mask", true},
                                         {"train_on_turn", true},
                                         {"masked", false}}};

// Fields that templates are known to read.
constexpr std::array<std::string_view, 10> kTemplateFields = {
    "role",         "content",           "from",      "value",   "name", "tool_calls",
    "tool_call_id", "reasoning_content", "reasoning", "thinking"};

// Fields without which a message would not be what it is, and what to do about them.
struct Refused {
    std::string_view name, advice;
};
constexpr std::array<Refused, 8> kRefused = {{
    {"train_detail", "parts of an answer cannot be left out of the loss; remove the field, or the row"},
    {"function_call", "write it as tool_calls, a list with one call"},
    {"image", "only text can be trained on; remove the row"},
    {"images", "only text can be trained on; remove the row"},
    {"video", "only text can be trained on; remove the row"},
    {"videos", "only text can be trained on; remove the row"},
    {"audio", "only text can be trained on; remove the row"},
    {"audios", "only text can be trained on; remove the row"},
}};

// ShareGPT's names of who speaks, and the usual ones.
constexpr std::array<std::pair<std::string_view, std::string_view>, 10> kShareGptRoles = {
    {{"human", "user"},
     {"user", "user"},
     {"gpt", "assistant"},
     {"assistant", "assistant"},
     {"system", "system"},
     {"developer", "developer"},
     {"tool", "tool"},
     {"function", "function"},
     {"observation", "tool"},
     {"function_call", "assistant"}}};

// The roles of chat templates. One of their own, as "ipython", is a template's affair.
constexpr std::array<const char*, 5> kRoles = {"assistant", "developer", "system", "tool", "user"};

// The one of `known` that a word was meant to be, if it is mistyped: a letter or, in a long word, two are wrong.
std::string mistyped(const std::string& word, const std::vector<std::string>& known) {
    constexpr size_t kLong = 6;
    if (std::ranges::find(known, word) != known.end()) return "";
    return nearest_name(word, known, word.size() < kLong ? 2 : 3);
}

// The value under the name; null if it is absent or null.
Json* find(Json& object, std::string_view name) {
    const auto it = object.find(name);
    return it == object.end() || it->is_null() ? nullptr : &*it;
}

// The object that the text is as JSON; null if it is something else.
Json parse_object(const std::string& text) {
    try {
        Json value = parse_ordered_json(text, "");
        if (value.is_object()) return value;
    } catch (const Error&) {
        return nullptr;  // a text is what it is
    }
    return nullptr;
}

// The marks that no other word is like.
std::vector<std::string> long_marks() {
    std::vector<std::string> names;
    for (const Mark& mark : kMarks)
        if (mark.name.size() > std::string_view("loss").size()) names.emplace_back(mark.name);
    return names;
}

class MessageReader {
  public:
    MessageReader(Json& message, const std::string& where, ReadingNotes& notes)
        : message_(message), where_(where), notes_(notes) {}

    ReadMessage read() {
        require(message_.is_object(), where_, " is ", kind_of(message_));
        const std::string role = role_and_checks();
        ReadMessage read;
        read_marks(read.mark);
        move_fields(read.message);
        read.message["role"] = role;
        if (is_call_) turn_into_call(read.message);
        parse_arguments(read.message);
        check_content(read.message);
        return read;
    }

  private:
    // The role under its usual name.
    std::string role_and_checks() {
        Json *role = find(message_, "role"), *from = find(message_, "from");
        require(!role || !from, where_, R"( has two fields for its role ("role" or "from"); keep one of them)");
        require(!find(message_, "content") || !find(message_, "value"), where_,
                R"( has two fields for its text ("content" or "value"); keep one of them)");
        const Json* named = role ? role : from;
        if (!named || !named->is_string()) fail(where_, R"( has no "role" (or "from") that is a string)");
        const auto& name = named->get_ref<const std::string&>();
        if (role) {
            const std::string meant = mistyped(name, {kRoles.begin(), kRoles.end()});
            require(meant.empty(), where_, " has the role ", in_quotes(name), did_you_mean(meant));
            return name == "human" ? "user" : name == "gpt" ? "assistant" : name;
        }
        const auto known = std::ranges::find(kShareGptRoles, name, [](const auto& pair) { return pair.first; });
        require(known != kShareGptRoles.end(), where_, " is from ", in_quotes(name),
                ", but only human, gpt, system, developer, tool, function, function_call and observation are known");
        is_call_ = name == "function_call";
        return std::string(known->second);
    }

    void read_marks(std::optional<bool>& mark) {
        for (const auto& [name, trained_when] : kMarks) {
            const Json* value = find(message_, name);
            if (!value) continue;
            const bool trained = mark_value(*value, where_, name) == trained_when;
            require(!mark || *mark == trained, where_,
                    " has fields that contradict each other about its loss, one of them ", in_quotes(name),
                    "; keep one of them");
            mark = trained;
        }
    }

    // Everything that a template may read, in the order of the file. Each name is once in the message, so that nothing
    // has to be looked for.
    void move_fields(Json& read) {
        read = Json::object();
        std::vector<std::pair<const std::string, Json>>& fields = read.get_ref<Json::object_t&>();
        for (auto& [name, value] : message_.get_ref<Json::object_t&>()) {
            if (value.is_null()) continue;
            check_field(name, value);
            fields.emplace_back(name == "value" ? "content" : name == "from" ? "role" : name, std::move(value));
        }
    }

    void check_field(const std::string& name, const Json& value) {
        if (std::ranges::find(kTemplateFields, name) != kTemplateFields.end()) return;
        if (std::ranges::find(kMarks, name, &Mark::name) != kMarks.end()) return;
        const auto refused = std::ranges::find(kRefused, name, &Refused::name);
        if (refused != kRefused.end() && (says_something(value) || name == "train_detail"))
            fail(where_, " has a ", name, ": ", refused->advice);
        if (!says_something(value)) return;
        const std::string meant = notes_.has_message_field(name) ? "" : mistyped(name, long_marks());
        require(meant.empty(), where_, " has a field ", in_quotes(name), ", which nothing reads", did_you_mean(meant));
        require(!names_a_mark(name) || is_neutral_mark(value), where_, " has a field ", in_quotes(name),
                ", which is not supported and may say what carries a loss; remove the field, or the row");
        notes_.add_message_field(name);
    }

    // ShareGPT's call of a function: the message's text is its JSON.
    void turn_into_call(Json& read) {
        const Json* content = find(read, "content");
        Json call = content && content->is_string() ? parse_object(content->get_ref<const std::string&>()) : Json();
        const Json* name = call.is_object() ? find(call, "name") : nullptr;
        require(name && name->is_string(), where_,
                R"( is a function_call, but its value is no JSON such as {"name": "f", "arguments": {}})");
        read["content"] = "";
        read["tool_calls"] = Json::array({Json{{"type", "function"}, {"function", std::move(call)}}});
    }

    // Templates would quote arguments that are JSON text a second time.
    void parse_arguments(Json& read) {
        Json* calls = find(read, "tool_calls");
        if (!calls || !calls->is_array()) return;
        for (Json& call : *calls) {
            if (!call.is_object()) continue;
            Json* function = find(call, "function");
            Json* arguments = find(function && function->is_object() ? *function : call, "arguments");
            if (!arguments || !arguments->is_string()) continue;
            Json parsed = parse_object(arguments->get_ref<const std::string&>());
            if (parsed.is_null()) continue;
            *arguments = std::move(parsed);
            notes_.count_parsed_arguments();
        }
    }

    void check_content(Json& read) {
        const Json* content = find(read, "content");
        if (!content) {
            const Json* calls = find(read, "tool_calls");
            require(calls && says_something(*calls), where_, R"( has no "content" (or "value") that is a string)");
        } else if (!content->is_string()) {
            require(content->is_array(), where_, R"( has a "content" that is )", kind_of(*content),
                    ", but must be a string or a list of parts");
            for (const Json& part : *content) check_part(part);
        }
    }

    void check_part(const Json& part) {
        const auto type = part.find("type"), text = part.find("text");
        require(type != part.end() && type->is_string(), where_,
                R"( has a part of its "content" that is not like {"type": "text", "text": "..."})");
        require(*type == "text", where_, R"( has a part of its "content" of the type )",
                in_quotes(type->get_ref<const std::string&>()), "; only text can be trained on; remove the row");
        require(text != part.end() && text->is_string(), where_,
                R"( has a part of its "content" whose "text" is no string)");
    }

    Json& message_;
    const std::string& where_;
    ReadingNotes& notes_;
    bool is_call_ = false;  // ShareGPT's
};

}  // namespace

bool ReadMessage::is_answer() const {
    return message["role"] == "assistant";
}

ReadMessage read_message(Json& message, const std::string& where, ReadingNotes& notes) {
    return MessageReader(message, where, notes).read();
}

bool mark_value(const Json& value, const std::string& where, std::string_view name) {
    if (value.is_boolean()) return value.get<bool>();
    const double number = value.is_number() ? value.get<double>() : -1;
    require(number == 0 || number == 1, where, " has a ", name, " that is ", kind_of(value),
            ", but must be 0 or 1, false or true: a message is in the loss, or it is not");
    return number == 1;
}

}  // namespace llmc
