// Lists of messages as conversations: names, roles, parts, calls, and who carries a loss.
#include "test/catch.h"
#include "test/llmc/data/reading.h"

using namespace llmc;
using test::check_pair;
using test::error_of;
using test::expect_start;
using test::expect_within;
using test::records_of;

namespace {

const std::string kUser = R"({"role": "user", "content": "u"})", kAnswer = R"({"role": "assistant", "content": "a"})",
                  kSystem = R"({"role": "system", "content": "s"})";

// The conversation of one row with these messages, and perhaps more fields.
Conversation conversation_of(const std::string& messages, const std::string& more = "") {
    const std::vector<Record> records = records_of("a.jsonl", "{\"messages\": [" + messages + "]" + more + "}");
    REQUIRE(records.size() == 1);
    REQUIRE(records[0].kind == Record::Kind::conversation);
    return records[0].conversation;
}

// What is wrong with the messages.
std::string problem(const std::string& messages, const std::string& more = "") {
    const std::string text =
        error_of("a.jsonl", "{\"text\": \"fine\"}\n{\"messages\": [" + messages + "]" + more + "}");
    const std::string start = "a.jsonl:2: the field \"messages\": ";
    expect_start(text, start);
    return text.substr(std::min(start.size(), text.size()));
}

Json json(const char* text) {
    return Json::parse(text);
}

}  // namespace

TEST_CASE("conversations are read in both ways of writing them", "[data][reader]") {
    const std::vector<std::string> rows = {
        R"({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"},
            {"content": "a", "role": "assistant"}], "text": "not this"})",
        R"({"conversations": [{"from": "system", "value": "s"}, {"from": "human", "value": "u"},
            {"value": "a", "from": "gpt"}], "id": 3})"};
    for (std::string row : rows) {
        std::erase(row, '\n');
        for (const std::string& file : {row, "[" + row + "]"}) {
            const std::vector<Record> records = records_of(file.front() == '[' ? "a.json" : "a.jsonl", file);
            REQUIRE(records.size() == 1);
            CHECK(records[0].kind == Record::Kind::conversation);
            // The fields keep their order.
            CHECK(records[0].conversation.messages.dump() ==
                  R"([{"role":"system","content":"s"},{"role":"user","content":"u"},)"
                  R"({"content":"a","role":"assistant"}])");
            CHECK(records[0].conversation.trained.empty());
            CHECK(records[0].source == "u");
            CHECK(records[0].target == "a");
        }
    }
    // A column with one of the names that is not a list of objects is like any other.
    check_pair(records_of("a.jsonl", R"({"messages": [1, 2], "conversations": 3, "input": "i", "output": "o"})")[0],
               "i", "o");
    check_pair(records_of("a.jsonl", R"({"messages": [], "prompt": "a", "completion": "b"})")[0], "a", "b");
    const std::string conversation = R"([{"from": "human", "value": "u"}, {"from": "gpt", "value": "a"}])";
    CHECK(records_of("a.jsonl", R"({"messages": [], "conversations": )" + conversation + "}")[0]
              .conversation.messages.size() == 2);
}

TEST_CASE("a template gets every field of a message but those that are null", "[data][reader]") {
    const Conversation read = conversation_of(
        R"({"role": "user", "content": "u", "name": "Ann", "mood": null}, {"role": "assistant", "content": null,)"
        R"( "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": {"b": 1, "a": [2]}}}]},)"
        R"({"role": "tool", "content": "t", "tool_call_id": "1"}, {"role": "ipython", "content": "p"},)"
        R"({"role": "assistant", "content": "a", "reasoning_content": "r", "other": {"x": 1}})");
    CHECK(read.messages[0].dump() == R"({"role":"user","content":"u","name":"Ann"})");
    CHECK(read.messages[1].dump() ==
          R"({"role":"assistant","tool_calls":[{"id":"1","function":{"name":"f","arguments":{"b":1,"a":[2]}}}]})");
    CHECK(read.messages[2].dump() == R"({"role":"tool","content":"t","tool_call_id":"1"})");
    CHECK(read.messages[3]["role"] == "ipython");
    CHECK(read.messages[4].dump() == R"({"role":"assistant","content":"a","reasoning_content":"r","other":{"x":1}})");
}

TEST_CASE("mistyped roles and marks are refused by name, other words are the template's", "[data][reader]") {
    const auto error = [](const std::string& message) {
        return error_of("a.jsonl", "{\"messages\": [" + kUser + ", " + message + "]}");
    };
    expect_within(error(R"({"role": "asistant", "content": "a"})"),
                  "has the role \"asistant\"; did you mean assistant?");
    expect_within(error(R"({"role": "assistant", "content": "a", "wieght": 0})"),
                  "has a field \"wieght\", which nothing reads; did you mean weight?");
    for (const char* role : {"ipython", "function", "model", "critic"})
        CHECK(conversation_of(kUser + R"(, {"role": ")" + role + R"(", "content": "a"}, )" + kAnswer)
                  .messages[1]["role"] == role);
    // A mark that says nothing at first still counts later.
    expect_within(error(R"({"role": "assistant", "content": "a", "token_weights": 1}, )" + kUser +
                        R"(, {"role": "assistant", "content": "b", "token_weights": 0})"),
                  "\"token_weights\", which is not supported");
}

TEST_CASE("content may be a list of parts of text and nothing else", "[data][reader]") {
    const auto with = [](const std::string& content) {
        return R"({"role": "user", "content": )" + content + "}, " + kAnswer;
    };
    const std::string parts = R"([{"type":"text","text":"a"},{"type":"text","text":"b"}])";
    CHECK(conversation_of(with(parts)).messages[0]["content"].dump() == parts);
    CHECK(problem(with(R"([{"type": "image_url", "image_url": {}}])")) ==
          "message 1 has a part of its \"content\" of the type \"image_url\"; only text can be trained on; remove the "
          "row");
    expect_within(problem(with(R"(["a"])")), "that is not like {\"type\": \"text\"");
    expect_within(problem(with(R"([{"text": "a"}])")), "that is not like {\"type\": \"text\"");
    expect_within(problem(with(R"([{"type": "text"}])")), "whose \"text\" is no string");
    CHECK(problem(with("5")) == "message 1 has a \"content\" that is 5, but must be a string or a list of parts");
}

TEST_CASE("arguments of calls that are JSON text become the object", "[data][reader]") {
    const auto call = [](const std::string& arguments) {
        const Conversation read = conversation_of(
            kUser + R"(,{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": )" + arguments +
            "}}]}");
        return read.messages[1]["tool_calls"][0]["function"]["arguments"].dump();
    };
    CHECK(call(R"("{\"b\": 1, \"a\": 2}")") == R"({"b":1,"a":2})");
    CHECK(call(R"({"b": 1})") == R"({"b":1})");
    CHECK(call(R"("no JSON")") == R"("no JSON")");
    CHECK(call(R"("7")") == R"("7")");
    const TempFile file("a.jsonl", "{\"messages\": [" + kUser +
                                       R"(,{"role": "assistant", "tool_calls": [{"name": "f", "arguments": "{}"},)"
                                       R"({"name": "g", "arguments": "{}"}]}]})");
    CHECK(read_records(file.path(), {}, [](Record&&) {}).notes.sentences() ==
          std::vector<std::string>{"the arguments of 2 calls of tools are JSON as text; templates get the object"});
}

TEST_CASE("ShareGPT's calls and what they return", "[data][reader]") {
    const Conversation read = conversation_of(
        R"({"from": "human", "value": "u"}, {"from": "function_call", "value": "{\"name\": \"f\", \"arguments\": {}}"},)"
        R"({"from": "observation", "value": "o"}, {"from": "gpt", "value": "a"})");
    CHECK(read.messages[1] ==
          json(R"({"role":"assistant","content":"","tool_calls":[{"type":"function","function":{"name":"f",)"
               R"("arguments":{}}}]})"));
    CHECK(read.messages[2] == json(R"({"role":"tool","content":"o"})"));
    CHECK(problem(R"({"from": "function_call", "value": "f"})") ==
          "message 1 is a function_call, but its value is no JSON such as {\"name\": \"f\", \"arguments\": {}}");
    CHECK(problem(R"({"from": "human", "value": "u"}, {"from": "bing", "value": "a"})") ==
          "message 2 is from \"bing\", but only human, gpt, system, developer, tool, function, function_call and "
          "observation are known");
}

TEST_CASE("marks on messages say which answers carry a loss", "[data][reader]") {
    const auto trained = [](const std::string& first, const std::string& second) {
        const auto answer = [](const std::string& mark) {
            return R"({"role": "assistant", "content": "a")" + (mark.empty() ? "" : ", " + mark) + "}";
        };
        return conversation_of(kUser + "," + answer(first) + "," + kUser + "," + answer(second)).trained;
    };
    using Marks = std::vector<char>;
    for (const char* name : {"weight", "train", "training", "trainable", "loss", "loss_mask", "train_on_turn"}) {
        CAPTURE(name);
        const auto mark = [&](const char* value) { return concat("\"", name, "\": ", value); };
        for (const char* no : {"0", "0.0", "false"}) CHECK(trained(mark(no), "") == Marks{1, 0, 1, 1});
        CHECK(trained(mark("false"), mark("true")) == Marks{1, 0, 1, 1});
        CHECK(trained(mark("1"), mark("0")) == Marks{1, 1, 1, 0});
        for (const char* yes : {"1", "1.0", "true", "null"}) CHECK(trained(mark(yes), "").empty());
        const std::string where = "message 2 has a " + std::string(name);
        for (const char* other : {"0.5", "2", "-1"})
            CHECK(problem(kUser + R"(,{"role": "assistant", "content": "a", )" + mark(other) + "}") ==
                  where + " that is " + Json::parse(other).dump() +
                      ", but must be 0 or 1, false or true: a message is in the loss, or it is not");
        expect_start(problem(kUser + R"(,{"role": "assistant", "content": "a", )" + mark("\"0\"") + "}"),
                     where + " that is a string");
    }
    CHECK(trained(R"("masked": true)", "") == Marks{1, 0, 1, 1});
    CHECK(trained(R"("masked": false)", "").empty());
    CHECK(trained(R"("masked": true, "weight": 0)", "") == Marks{1, 0, 1, 1});
    expect_within(problem(kUser + R"(,{"role": "assistant", "content": "a", "masked": true, "weight": 1})"),
                  "message 2 has fields that contradict each other about its loss");
    // A question may say that it carries none.
    CHECK(conversation_of(R"({"role": "user", "content": "u", "weight": 0},)" + kAnswer).trained == Marks{0, 1});
    CHECK(problem(R"({"role": "user", "content": "u", "train": true},)" + kAnswer) ==
          "message 1 is no answer of the assistant, but a field of it asks for a loss on it; remove that field");
}

TEST_CASE("a list beside the messages marks each of them", "[data][reader]") {
    const std::string two = kUser + "," + kAnswer + "," + kUser + "," + kAnswer;
    for (const char* name : {"loss_mask", "weights"}) {
        const auto list = [&](const char* values) { return concat(", \"", name, "\": ", values); };
        CHECK(conversation_of(two, list("[0, 0, 0, 1]")).trained == std::vector<char>{0, 0, 0, 1});
        CHECK(conversation_of(two, list("null")).trained.empty());
        CHECK(error_of("a.jsonl", "{\"messages\": [" + two + "]" + list("[0, 1]") + "}") ==
              concat("a.jsonl:1: the field \"", name,
                     "\" has 2 entries, but must be a list with a number for each of the 4 messages"));
        expect_within(error_of("a.jsonl", "{\"messages\": [" + two + "]" + list("1") + "}"),
                      "is 1, but must be a list");
        CHECK(problem(two, list("[1, 1, 1, 1]")) ==
              concat("message 1 is no answer of the assistant, but \"", name,
                     "\" has a 1 for it, which asks for a loss on it; make it 0"));
        expect_within(problem(two, list("[0, 0.5, 0, 1]")), "message 2 has a " + std::string(name) + " that is 0.5");
    }
    // A system message of a column stands before them.
    CHECK(conversation_of(two, R"(, "system": "s", "weights": [0, 0, 0, 1])").trained ==
          std::vector<char>{1, 0, 0, 0, 1});
    expect_within(problem(kUser + R"(,{"role": "assistant", "content": "a", "weight": 1})", R"(, "weights": [0, 0])"),
                  "message 2 has a mark that contradicts \"weights\"");
}

TEST_CASE("fields of messages that must not be dropped are refused by name", "[data][reader]") {
    const auto answer = [](const std::string& field) {
        return kUser + R"(,{"role": "assistant", "content": "a", )" + field + "}";
    };
    CHECK(problem(answer(R"("train_detail": [])")) ==
          "message 2 has a train_detail: parts of an answer cannot be left out of the loss; remove the field, or the "
          "row");
    CHECK(problem(answer(R"("function_call": {"name": "f"})")) ==
          "message 2 has a function_call: write it as tool_calls, a list with one call");
    expect_start(problem(answer(R"("images": ["a.png"])")), "message 2 has a images: only text");
    CHECK(problem(answer(R"("token_mask": [0, 1])")) ==
          "message 2 has a field \"token_mask\", which is not supported and may say what carries a loss; remove the "
          "field, or the row");
    for (const char* field : {R"("train_detail": null)", R"("function_call": {})", R"("images": [])",
                              R"("loss_weight": 1)", R"("x": [{"weight": 0}])"}) {
        CAPTURE(field);
        CHECK(conversation_of(answer(field)).messages.size() == 2);
    }
    const TempFile file("a.jsonl",
                        "{\"messages\": [" + answer(R"("mood": "good", "tool_calls": [])") + "], \"id\": 1}");
    CHECK(read_records(file.path(), {}, [](Record&&) {}).notes.sentences() ==
          std::vector<std::string>{"columns that nothing reads: \"id\"",
                                   "fields of messages that only a chat template may read: \"mood\""});
}

TEST_CASE("a prompt and a completion that are lists of messages are one conversation", "[data][reader]") {
    const auto row = [](const std::string& prompt, const std::string& completion) {
        return R"({"prompt": [)" + prompt + R"(], "completion": [)" + completion + "]}";
    };
    const Record record = records_of("a.jsonl", row(kSystem + "," + kUser, kAnswer))[0];
    CHECK(record.kind == Record::Kind::conversation);
    CHECK(record.conversation.messages == json(R"([{"role": "system", "content": "s"},
                 {"role": "user", "content": "u"}, {"role": "assistant", "content": "a"}])"));
    CHECK(record.source == "u");
    CHECK(record.target == "a");
    // The prompt's answers carry no loss.
    CHECK(records_of("a.jsonl", row(kUser + "," + kAnswer + "," + kUser, kAnswer))[0].conversation.trained ==
          std::vector<char>{1, 0, 1, 1});
    CHECK(error_of("a.jsonl", row(kUser, kUser)) ==
          "a.jsonl:1: the fields \"prompt\" and \"completion\": its last message is the user's, which nobody answers; "
          "end it with the assistant's");
    CHECK(error_of("a.jsonl", row(kUser, "{}")) ==
          "a.jsonl:1: the field \"completion\": message 1 has no \"role\" (or \"from\") that is a string");
    expect_within(error_of("a.jsonl", R"({"prompt": "p", "completion": [)" + kAnswer + "]}"),
                  "\"completion\" is a list of objects, but must be a string");
}

TEST_CASE("what stands beside a conversation and changes it is not dropped", "[data][reader]") {
    const std::string messages = R"({"messages": [)" + kUser + ", " + kAnswer + "]";
    for (const char* name : {"history", "context"})
        expect_within(error_of("a.jsonl", messages + ", \"" + name + R"(": ["x"]})"),
                      "stands beside a list of messages");
    expect_within(error_of("a.jsonl", messages + R"(, "labels": [-100, 2]})"),
                  R"(the field "labels" is not supported)");
    CHECK(records_of("a.jsonl", messages + R"(, "history": [], "label": 3})").size() == 1);
}

TEST_CASE("a column may hold a conversation's system message", "[data][reader]") {
    for (const char* name : {"system", "system_prompt"}) {
        const auto column = [&](const char* value) { return concat(", \"", name, "\": ", value); };
        const Conversation read = conversation_of(kUser + "," + kAnswer, column("\"s\""));
        REQUIRE(read.messages.size() == 3);
        CHECK(read.messages[0] == json(R"({"role": "system", "content": "s"})"));
        CHECK(conversation_of(kUser + "," + kAnswer, column("\"\"")).messages.size() == 2);
        CHECK(conversation_of(kUser + "," + kAnswer, column("null")).messages.size() == 2);
        // The same text twice is one message; two texts are not.
        CHECK(conversation_of(kSystem + "," + kUser + "," + kAnswer, column("\"s\"")).messages.size() == 3);
        CHECK(problem(kSystem + "," + kUser + "," + kAnswer, column("\"t\"")) ==
              "it has a system message, and the row has another one in a column; keep one of them");
        CHECK(error_of("a.jsonl", "{\"messages\": [" + kUser + "," + kAnswer + "]" + column("[\"s\"]") + "}") ==
              concat("a.jsonl:1: the field \"", name,
                     "\" is a list with a string at position 0, but must be a string; put the text in quotes"));
    }
    expect_within(
        error_of("a.jsonl", "{\"messages\": [" + kUser + "," + kAnswer + R"(], "system": "a", "system_prompt": "b"})"),
        "hold different texts");
}

TEST_CASE("tools and variables for the template stand in columns", "[data][reader]") {
    const std::string two = kUser + "," + kAnswer;
    const std::string tools = R"([{"type":"function","function":{"name":"f"}}])";
    CHECK(conversation_of(two, ", \"tools\": " + tools).tools.dump() == tools);
    CHECK(conversation_of(two, ", \"tools\": " + Json(tools).dump()).tools.dump() == tools);
    for (const char* unsaid : {"null", "\"\""})
        CHECK(conversation_of(two, concat(", \"tools\": ", unsaid)).tools.is_null());
    for (const char* none : {"[]", "\"[]\""})
        CHECK(conversation_of(two, concat(", \"tools\": ", none)).tools == Json::array());
    const auto error = [&](const std::string& more) {
        return error_of("a.jsonl", "{\"messages\": [" + two + "], " + more + "}");
    };
    expect_within(error(R"("tools": {"name": "f"})"), "\"tools\" is an object, but must be a list of objects");
    expect_within(error(R"("tools": ["f"])"), "\"tools\" is a list with a string at position 0, but must be");
    expect_within(error(R"("tools": "f")"), "\"tools\" is a string that holds no JSON: line 1, column");
    CHECK(conversation_of(two, R"(, "chat_template_kwargs": {"enable_thinking": false})").template_arguments.dump() ==
          R"({"enable_thinking":false})");
    expect_within(error(R"("chat_template_kwargs": [1])"), "\"chat_template_kwargs\" is a list of integers, but");
}

TEST_CASE("messages that are no list of objects are told what they must be", "[data][reader]") {
    const std::string must =
        ", but must be a list of objects with role and content; .csv and .tsv files cannot hold conversations, write "
        "them as .jsonl";
    CHECK(error_of("a.jsonl", R"({"messages": "hello"})") == "a.jsonl:1: the field \"messages\" is a string" + must);
    CHECK(error_of("a.csv", "messages,id\n\"[{\"\"role\"\": \"\"user\"\"}]\",1\n") ==
          "a.csv:2: the field \"messages\" is a string" + must);
    CHECK(error_of("a.jsonl", R"({"conversations": [1, 2]})") ==
          "a.jsonl:1: the field \"conversations\" is a list of integers" + must);
    CHECK(error_of("a.jsonl", R"({"conversations": ["a"]})") ==
          "a.jsonl:1: the field \"conversations\" is a list with a string at position 0" + must);
    expect_within(error_of("a.jsonl", R"({"messages": null})"), "found \"messages\" (null); wanted");
}

TEST_CASE("a conversation that cannot be used says what is wrong with it", "[data][reader]") {
    CHECK(problem("") == "holds no message");
    CHECK(problem(kUser) == "its last message is the user's, which nobody answers; end it with the assistant's");
    CHECK(problem(kSystem) == "its last message is the system's, which nobody answers; end it with the assistant's");
    CHECK(problem(kUser + R"(,{"role": "tool", "content": "t"})") ==
          "its last message is the \"tool\"'s, which nobody answers; end it with the assistant's");
    CHECK(problem(kUser + R"(,{"role": "assistant", "content": null, "tool_calls": []})") ==
          "message 2 has no \"content\" (or \"value\") that is a string");
    CHECK(problem(R"({"content": "u"})") == "message 1 has no \"role\" (or \"from\") that is a string");
    CHECK(problem(kUser + ", 7") == "message 2 is 7");
    CHECK(problem(R"({"role": "user", "from": "human", "content": "u"})") ==
          "message 1 has two fields for its role (\"role\" or \"from\"); keep one of them");
    CHECK(problem(kUser + R"(,{"role": "assistant", "content": "a", "value": "b"})") ==
          "message 2 has two fields for its text (\"content\" or \"value\"); keep one of them");
    CHECK(error_of("a.jsonl", R"({"messages": [{"role": "user", "role": "user", "content": "u"}]})") ==
          "a.jsonl:1: the field \"role\" appears twice in an object of \"messages\"; keep one of them");
    CHECK(problem(kUser + ", [" + kAnswer + "]") == "message 2 is a list of objects");
    // The other one may be null, as in a table with rows of both kinds.
    CHECK(conversation_of(R"({"role": "user", "from": null, "content": "u", "value": null},)" + kAnswer)
              .messages.size() == 2);
    // A bad one does not spoil the next.
    CHECK(records_of("a.json", R"([{"messages": [{}]}, {"messages": [)" + kUser + "," + kAnswer + "]}]", {false, {}})
              .size() == 1);
}
