#include "llmc/data/reader.h"

#include <random>

#include "llmc/core/error.h"
#include "llmc/tokenizer/utf8.h"
#include "test/catch.h"
#include "test/llmc/data/temp_file.h"

using namespace llmc;
using Ints = std::vector<int32_t>;

namespace {

std::vector<Record> read(const std::string& name, const std::string& content, ReaderOptions options = {}) {
    const TempFile file(name, content);
    std::vector<Record> records;
    read_records(file.path(), options, [&](Record&& record) { records.push_back(std::move(record)); });
    return records;
}

// The message of the Error that ends the reading, without the folder's name; "" if there is none.
std::string error_of(const std::string& name, const std::string& content, ReaderOptions options = {}) {
    const TempFile file(name, content);
    try {
        read_records(file.path(), options, [](Record&&) {});
    } catch (const Error& error) {
        std::string message = error.what();
        const std::string folder = file.folder() + "/";
        for (size_t at; (at = message.find(folder)) != message.npos;) message.erase(at, folder.size());
        return message;
    }
    return "";
}

void expect_start(const std::string& text, const std::string& start) {
    CHECK(text.substr(0, start.size()) == start);
}

void expect_within(const std::string& text, const std::string& part) {
    INFO(text);
    CHECK(text.find(part) != text.npos);
}

void check_pair(const Record& record, const std::string& source, const std::string& target) {
    CHECK(record.kind == Record::Kind::pair);
    CHECK(record.source == source);
    CHECK(record.target == target);
}

}  // namespace

TEST_CASE("every set of columns is read as documented", "[data][reader]") {
    const std::vector<Record> records = read("a.jsonl", R"({"input": "i", "output": "o"})"
                                                        "\n"
                                                        R"({"prompt": "p", "completion": "c"})"
                                                        "\n"
                                                        R"({"question": "q", "answer": "a"})"
                                                        "\n"
                                                        R"({"instruction": "do", "output": "done"})"
                                                        "\n"
                                                        R"({"instruction": "do", "input": "this", "output": "done"})"
                                                        "\n"
                                                        R"({"instruction": "do", "input": "", "output": "done"})"
                                                        "\n"
                                                        R"({"text": "all"})"
                                                        "\n"
                                                        R"({"input_ids": [1, 2, 3]})"
                                                        "\n"
                                                        R"({"input_ids": [1, 2, 3], "labels": [-100, 2, 9]})");
    REQUIRE(records.size() == 9);
    check_pair(records[0], "i", "o");
    check_pair(records[1], "p", "c");
    check_pair(records[2], "q", "a");
    check_pair(records[3], "do", "done");
    check_pair(records[4], "do\nthis", "done");
    check_pair(records[5], "do", "done");
    CHECK(records[6].kind == Record::Kind::text);
    CHECK(records[6].source == "");
    CHECK(records[6].target == "all");
    CHECK(records[7].kind == Record::Kind::tokens);
    CHECK(records[7].input_ids == Ints{1, 2, 3});
    CHECK(records[7].labels == Ints{1, 2, 3});
    CHECK(records[8].labels == Ints{-100, 2, 9});
    for (int i = 0; i < 9; ++i) CHECK(records[i].index == i);
}

TEST_CASE("where several sets are complete the first of the list is taken", "[data][reader]") {
    const std::vector<Record> records = read(
        "a.jsonl", R"({"text": "t", "output": "o", "instruction": "n", "input": "i", "question": "q", "answer": "a"})"
                   "\n"
                   R"({"text": "t", "output": "o", "input": "i", "question": "q", "answer": "a"})"
                   "\n"
                   R"({"text": "t", "prompt": "p", "completion": "c", "question": "q", "answer": "a"})"
                   "\n"
                   R"({"text": "t", "question": "q", "answer": "a", "output": "o"})"
                   "\n"
                   R"({"text": "t", "question": "q"})"
                   "\n"
                   R"({"text": "t", "question": "q", "answer": "a", "input_ids": [5]})"
                   "\n"
                   R"({"instruction": null, "input": "i", "output": "o", "input_ids": null})"
                   "\n"
                   R"({"instruction": "n", "input": null, "output": "o"})");
    REQUIRE(records.size() == 8);
    check_pair(records[0], "n\ni", "o");
    check_pair(records[1], "i", "o");
    check_pair(records[2], "p", "c");
    check_pair(records[3], "q", "a");
    CHECK(records[4].kind == Record::Kind::text);
    CHECK(records[5].kind == Record::Kind::tokens);
    check_pair(records[6], "i", "o");
    check_pair(records[7], "n", "o");
}

TEST_CASE("conversations are read in both ways of writing them", "[data][reader]") {
    const std::vector<std::string> rows = {
        R"({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u", "x": [1, {"role": 2}]},
            {"content": "a", "role": "assistant"}], "text": "not this"})",
        R"({"conversations": [{"from": "system", "value": "s"}, {"from": "human", "value": "u"},
            {"from": "gpt", "value": "a"}], "id": 3})"};
    for (std::string row : rows) {
        std::erase(row, '\n');
        for (const std::string& file : {row, "[" + row + "]"}) {
            const std::vector<Record> records = read(file.front() == '[' ? "a.json" : "a.jsonl", file);
            REQUIRE(records.size() == 1);
            CHECK(records[0].kind == Record::Kind::conversation);
            const std::vector<Message>& messages = records[0].messages;
            REQUIRE(messages.size() == 3);
            const char* const expected[][2] = {{"system", "s"}, {"user", "u"}, {"assistant", "a"}};
            for (size_t i = 0; i < 3; ++i) {
                CHECK(messages[i].role == expected[i][0]);
                CHECK(messages[i].content == expected[i][1]);
            }
            CHECK(records[0].source == "u");
            CHECK(records[0].target == "a");
        }
    }
    // A column with one of the names that is not a list of objects is like any other.
    check_pair(read("a.jsonl", R"({"messages": [1, 2], "conversations": 3, "input": "i", "output": "o"})")[0], "i",
               "o");
    check_pair(read("a.jsonl", R"({"messages": [], "prompt": "a", "completion": "b"})")[0], "a", "b");
    const std::string conversation = R"([{"from": "human", "value": "u"}, {"from": "gpt", "value": "a"}])";
    CHECK(read("a.jsonl", R"({"messages": [], "conversations": )" + conversation + "}")[0].messages.size() == 2);
}

TEST_CASE("a prompt and a completion that are lists of messages are one conversation", "[data][reader]") {
    const auto row = [](const std::string& prompt, const std::string& completion) {
        return R"({"prompt": [)" + prompt + R"(], "completion": [)" + completion + "]}";
    };
    const std::string system = R"({"role": "system", "content": "s"})", user = R"({"role": "user", "content": "u"})",
                      answer = R"({"role": "assistant", "content": "a"})";
    const Record record = read("a.jsonl", row(system + "," + user, answer))[0];
    CHECK(record.kind == Record::Kind::conversation);
    REQUIRE(record.messages.size() == 3);
    CHECK(record.messages[0].role == "system");
    CHECK(record.messages[2].content == "a");
    CHECK(record.source == "u");
    CHECK(record.target == "a");
    CHECK(
        error_of("a.jsonl", row(user + "," + answer + "," + user, answer)) ==
        "a.jsonl:1: the field \"prompt\": message 2 is the assistant's, and every answer carries a loss here; where it "
        "may, join the two lists into one and call it \"messages\"");
    CHECK(error_of("a.jsonl", row(user, user)) ==
          "a.jsonl:1: the fields \"prompt\" and \"completion\": message 2 is the user's, but the assistant's is due: "
          "user and assistant take turns, after one system message at most");
    CHECK(error_of("a.jsonl", row(user, "{}")) ==
          "a.jsonl:1: the field \"completion\": message 1 has no \"role\" (or \"from\") that is a string");
    expect_within(error_of("a.jsonl", R"({"prompt": "p", "completion": [)" + answer + "]}"),
                  "\"completion\" is a list of objects, but must be a string");
}

TEST_CASE("a column may hold a conversation's system message", "[data][reader]") {
    const std::string turn = R"({"from": "human", "value": "u"}, {"from": "gpt", "value": "a"}])";
    const auto first = [&](const std::string& row) { return read("a.jsonl", "{" + row + "}")[0].messages[0]; };
    for (const char* name : {"conversations", "messages"}) {
        const std::string begin = concat("\"", name, "\": [");
        const Record record = read("a.jsonl", "{\"system\": \"s\", " + begin + turn + "}")[0];
        REQUIRE(record.messages.size() == 3);
        CHECK(record.messages[0].role == "system");
        CHECK(record.messages[0].content == "s");
        CHECK(record.source == "u");
        CHECK(record.target == "a");
        // The list's own system message comes first; an empty one does not count.
        CHECK(first(begin + R"({"from": "system", "value": "own"}, )" + turn + R"(, "system": "s")").content == "own");
        CHECK(first(begin + turn + R"(, "system": "")").role == "user");
        CHECK(first(begin + turn + R"(, "system": null)").role == "user");
    }
    CHECK(
        error_of("a.jsonl", R"({"system": ["s"], "conversations": [)" + turn + "}") ==
        "a.jsonl:1: the field \"system\" is a list with a string at position 0, but must be a string; put the text in "
        "quotes");
    CHECK(first(R"("system": "s", "prompt": [{"role": "user", "content": "u"}], "completion": [{"role": "assistant",)"
                R"( "content": "a"}])")
              .content == "s");
    // Elsewhere it is a column like any other.
    check_pair(read("a.jsonl", R"({"system": "s", "question": "q", "answer": "a"})")[0], "q", "a");
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
    const auto problem = [](const std::string& messages) {
        const std::string message = error_of("a.jsonl", "{\"text\": \"fine\"}\n{\"messages\": [" + messages + "]}");
        expect_start(message, "a.jsonl:2: the field \"messages\": ");
        return message.substr(std::string("a.jsonl:2: the field \"messages\": ").size());
    };
    const std::string user = R"({"role": "user", "content": "u"})",
                      assistant = R"({"role": "assistant", "content": "a"})",
                      system = R"({"role": "system", "content": "s"})";
    CHECK(problem("") == "holds no message");
    CHECK(problem(user) == "its last message is the user's, which nobody answers; end it with the assistant's");
    CHECK(problem(system) == "its last message is the system's, which nobody answers; end it with the assistant's");
    CHECK(problem(assistant) ==
          "message 1 is the assistant's, but the user's is due: user and assistant take turns, after one system "
          "message at "
          "most");
    expect_start(problem(user + "," + user), "message 2 is the user's, but the assistant's is due");
    expect_start(problem(system + "," + system), "message 2 is the system's, but the user's is due");
    expect_start(problem(user + "," + assistant + "," + assistant),
                 "message 3 is the assistant's, but the user's is due");
    CHECK(problem(user + R"(,{"role": "tool", "content": "t"})") ==
          "message 2 has the role \"tool\", but only system, user (human) and assistant (gpt) are known");
    CHECK(problem(user + R"(,{"role": "assistant", "content": null, "tool_calls": []})") ==
          "message 2 has no \"content\" (or \"value\") that is a string");
    CHECK(problem(user + R"(,{"content": [{"type": "text", "text": "a"}], "role": "assistant"},)" + user) ==
          "message 2 has no \"content\" (or \"value\") that is a string");
    CHECK(problem(R"({"content": "u"})") == "message 1 has no \"role\" (or \"from\") that is a string");
    CHECK(problem(user + ", 7") == "message 2 is 7");
    CHECK(problem(R"({"role": "user", "from": "human", "content": "u"})") ==
          "message 1 has two fields for its role (\"role\" or \"from\"); keep one of them");
    CHECK(problem(user + R"(,{"role": "assistant", "content": "a", "value": "b"})") ==
          "message 2 has two fields for its text (\"content\" or \"value\"); keep one of them");
    CHECK(problem(R"({"role": "user", "role": "user", "content": "u"})") ==
          "message 1 has two fields for its role (\"role\" or \"from\"); keep one of them");
    const std::string calls = " calls tools, which is not supported; remove the row";
    CHECK(problem(user + R"(,{"role": "assistant", "content": null, "tool_calls": [{"id": "1", "weight": 0}]})") ==
          "message 2" + calls);
    CHECK(problem(user + R"(,{"role": "assistant", "function_call": {"name": "f"}, "content": "a"})") ==
          "message 2" + calls);
    for (const std::string weight : {"0", "0.0", "0.5", "2"}) {
        CHECK(problem(user + R"(,{"weight": )" + weight + R"(, "role": "assistant", "content": "a"},)" + user + "," +
                      assistant) ==
              "message 2 has a weight that is " + weight + ", but every answer has weight 1 here; remove the row");
    }
    CHECK(problem(R"({"from": "human", "value": "u"},{"from": "gpt", "value": "a", "weight": "0"})") ==
          "message 2 has a weight that is a string, but every answer has weight 1 here; remove the row");
    // A field that says what its absence would say does not count, and questions have no loss.
    for (const char* more : {R"("weight": 1)", R"("weight": 1.0)", R"("weight": null)", R"("tool_calls": [])",
                             R"("tool_calls": null)", R"("function_call": {})", R"("x": [{"weight": 0}])"}) {
        CAPTURE(more);
        const std::string with = concat(R"({"role": "assistant", "content": "a", )", more, "}");
        CHECK(read("a.jsonl", R"({"messages": [)" + user + "," + with + "]}").size() == 1);
    }
    CHECK(
        read("a.jsonl", R"({"messages": [{"role": "user", "content": "u", "weight": 0},)" + assistant + "]}").size() ==
        1);
    // The other one may be null, as in a table with rows of both kinds.
    CHECK(read("a.jsonl",
               R"({"messages": [{"role": "user", "from": null, "content": "u", "value": null},)" + assistant + "]}")
              .size() == 1);
    CHECK(problem(user + ", [" + assistant + "]") == "message 2 is a list");
    // A bad one does not spoil the next.
    CHECK(read("a.json", R"([{"messages": [{}]}, {"messages": [)" + user + "," + assistant + "]}]", {false}).size() ==
          1);
}

TEST_CASE("columns nobody asked for are ignored, whatever is in them", "[data][reader]") {
    const std::vector<Record> records = read(
        "a.jsonl", R"({"id": 7, "meta": {"input": "no", "list": [1, {"output": [2.5]}]}, "tags": ["a", [1], null],)"
                   R"( "input": "i", "ok": true, "score": 1e3, "output": "o", "big": 99999999999999999999})");
    REQUIRE(records.size() == 1);
    check_pair(records[0], "i", "o");
}

TEST_CASE("JSON lines may end in CRLF, be blank, and start with a byte order mark", "[data][reader]") {
    const std::vector<Record> records =
        read("a.jsonl", "\xEF\xBB\xBF{\"text\": \"one\\u00e9\\n\"}\r\n\r\n  \n{\"text\": \"two\"}\r\n");
    REQUIRE(records.size() == 2);
    CHECK(records[0].target == "one\xC3\xA9\n");
    CHECK(records[1].target == "two");
    CHECK(records[1].index == 1);
    expect_within(records[1].where, "a.jsonl:4");
}

TEST_CASE("a .json file is an array of objects, or JSON lines", "[data][reader]") {
    const std::vector<Record> array =
        read("a.json", "\n [ {\"text\": \"one\", \"x\": [{}]},\n {\"input_ids\": [], \"labels\": []} ]\n");
    REQUIRE(array.size() == 2);
    CHECK(array[0].target == "one");
    CHECK(array[1].kind == Record::Kind::tokens);
    expect_within(array[1].where, "a.json: record 2");
    const std::vector<Record> lines = read("a.JSON", "{\"text\": \"one\"}\n{\"text\": \"two\"}\n");
    REQUIRE(lines.size() == 2);
    CHECK(lines[1].target == "two");
}

TEST_CASE("CSV follows RFC 4180", "[data][reader]") {
    const std::vector<Record> records = read("a.csv",
                                             "\xEF\xBB\xBFinput, output ,\"no\"\"te\"\r\n"
                                             "plain,\"with, comma\",\r\n"
                                             "\"two\r\nlines\",\"say \"\"hi\"\"\",x\r\n"
                                             "\r\n"
                                             ",\"\",x\n"
                                             "6\" pipe, spaced ,x");
    REQUIRE(records.size() == 4);
    check_pair(records[0], "plain", "with, comma");
    check_pair(records[1], "two\r\nlines", "say \"hi\"");
    check_pair(records[2], "", "");
    check_pair(records[3], "6\" pipe", " spaced ");
    expect_within(records[1].where, "a.csv:3");
    expect_within(records[3].where, "a.csv:7");
}

TEST_CASE("TSV is the same with tabs", "[data][reader]") {
    const std::vector<Record> records = read("a.tsv", "question\tanswer\na, b\t\"c\td\"\n");
    REQUIRE(records.size() == 1);
    check_pair(records[0], "a, b", "c\td");
}

TEST_CASE("lists of ids in CSV cells", "[data][reader]") {
    const std::vector<Record> records =
        read("a.csv", "input_ids,labels\n\"[1, 2,3]\",\"[-100,2,3]\"\n[4 5  6],\n[ ],[]\n");
    REQUIRE(records.size() == 3);
    CHECK(records[0].input_ids == Ints{1, 2, 3});
    CHECK(records[0].labels == Ints{-100, 2, 3});
    CHECK(records[1].input_ids == Ints{4, 5, 6});
    CHECK(records[1].labels == Ints{4, 5, 6});
    CHECK(records[2].input_ids.empty());
    for (const char* cell : {"1 2", "[1", "[1,]", "[,1]", "[2.5]", "[1] 2", "[a]", "[1 -]", "[99999999999999999999]"}) {
        INFO(cell);
        expect_start(error_of("a.csv", std::string("input_ids\n\"") + cell + "\"\n"),
                     "a.csv:2: the field \"input_ids\" must be a list of token ids");
    }
}

TEST_CASE("errors name the file, the line, the field and the way out", "[data][reader]") {
    const auto second = [](const std::string& line) {
        return error_of("a.jsonl", "{\"text\": \"fine\"}\n" + line, {true, 100});
    };
    CHECK(second(R"({"inputs": "a", "targets": null})") ==
          "a.jsonl:2: no known set of columns: found \"inputs\", \"targets\" (null); wanted input_ids (and labels), "
          "messages, instruction (and input) and output, input and output, prompt and completion, question and answer, "
          "or text");
    expect_start(second("{}"), "a.jsonl:2: no known set of columns: found none; wanted");
    CHECK(second(R"({"input": "a", "output": 5})") ==
          "a.jsonl:2: the field \"output\" is 5, but must be a string; put the text in quotes");
    expect_within(second(R"({"input": "a", "output": {"b": 1}})"), "\"output\" is an object");
    expect_within(second(R"({"input": "a", "output": [1]})"), "\"output\" is a list of integers");
    expect_within(second(R"({"input": "a", "output": ["b"]})"), "\"output\" is a list with a string at position 0");
    expect_within(second(R"({"input": "a", "output": "b", "output": "c"})"), "\"output\" appears twice");
    expect_start(second("[1, 2]"), "a.jsonl:2: a list where an object such as");
    expect_start(second("[[1]]"), "a.jsonl:2: a list where an object such as");
    expect_start(second("17"), "a.jsonl:2: 17 where an object such as");
    expect_start(second("\"text\""), "a.jsonl:2: a string where an object such as");
    expect_start(second("{\"text\": \"a\""), "a.jsonl:2: column 13 is not JSON: ");
    expect_start(second("{\"text\": \"a\"} {}"), "a.jsonl:2: column 15 is not JSON: ");
    expect_start(second("text,answer"), "a.jsonl:2: column 2 is not JSON: ");
    expect_start(second("{\"x\": 1e999}"), "a.jsonl:2: is not JSON: number overflow parsing '1e999'");
    expect_start(error_of("a.json", "[1e999]"), "a.json: record 1, is not JSON: number overflow");
    expect_start(second("{\"text\": \"caf\xE9\"}"), "a.jsonl:2: column 15 is not UTF-8; convert");
    expect_start(second("{\"text\": \"\\ud800\"}"), "a.jsonl:2: column ");
}

TEST_CASE("errors about ids say what they may be", "[data][reader]") {
    const auto row = [](const std::string& line) { return error_of("a.jsonl", line, {true, 100}); };
    CHECK(row(R"({"input_ids": [1, -1]})") ==
          "a.jsonl:1: the field \"input_ids\" has -1 at position 1, but token ids go from 0 to 99");
    CHECK(row(R"({"input_ids": [-100]})") ==
          "a.jsonl:1: the field \"input_ids\" has -100 at position 0, but token ids go from 0 to 99");
    CHECK(
        row(R"({"input_ids": [1, 100]})") ==
        "a.jsonl:1: the field \"input_ids\" has 100 at position 1, but token ids go from 0 to 99; was it tokenised for "
        "another model?");
    CHECK(row(R"({"input_ids": [99]})") == "");
    CHECK(row(R"({"input_ids": [1, 2.5]})") ==
          "a.jsonl:1: the field \"input_ids\" is a list with 2.5 at position 1, but must be a list of token ids, all "
          "integers");
    expect_within(row(R"({"input_ids": [[1, 2]]})"), "is a list with a list at position 0");
    expect_within(row(R"({"input_ids": ["1"]})"), "is a list with a string at position 0");
    expect_within(row(R"({"input_ids": [1, null]})"), "is a list with null at position 1");
    expect_within(row(R"({"input_ids": [18446744073709551615]})"), "is a list with 18446744073709551615 at position 0");
    expect_within(row(R"({"input_ids": 5})"), "\"input_ids\" is 5, but must be a list");
    CHECK(row(R"({"input_ids": [1, 2, 3], "labels": [1, 2]})") ==
          "a.jsonl:1: \"input_ids\" has 3 entries, but \"labels\" has 2; give each id a label, -100 where it has no "
          "loss");
    CHECK(row(R"({"input_ids": [1, 2], "labels": [-100, -99]})") ==
          "a.jsonl:1: the field \"labels\" has -99 at position 1, but token ids go from 0 to 99 (-100: no loss)");
    expect_within(row(R"({"input_ids": [1, 2], "labels": [-100, 100]})"), "\"labels\" has 100 at position 1");
    expect_within(row(R"({"input_ids": [1, 2], "attention_mask": [1, 0]})"), "\"attention_mask\" has zeros");
    CHECK(row(R"({"input_ids": [1, 2], "attention_mask": [1, 1]})") == "");
    // Without a vocabulary any id of 32 bits is accepted.
    CHECK(error_of("a.jsonl", R"({"input_ids": [2147483647]})") == "");
    expect_within(error_of("a.jsonl", R"({"input_ids": [2147483648]})"), "go from 0 to 2147483647");
}

TEST_CASE("errors in an array name the record", "[data][reader]") {
    expect_start(error_of("a.json", R"([{"text": "a"}, {"txt": "b"}])"), "a.json: record 2: no known set of columns");
    expect_start(error_of("a.json", R"([{"text": "a"}, [1], 5])"), "a.json: record 2: a list where an object");
    expect_start(error_of("a.json", "[{\"text\": \"a\"},\n {\"text\" \"b\"}]"),
                 "a.json:2: record 2, column 12 is not JSON");
    expect_start(error_of("a.json", "[{\"text\": \"a\"}"), "a.json:1: record 2, column 15 is not JSON");
    expect_within(error_of("a.json", "[{\"text\": \"\xFF\"}]"), "not UTF-8");
}

TEST_CASE("errors in CSV name the line the row starts at", "[data][reader]") {
    expect_start(error_of("a.csv", "text,x\n\"a\nb\",1\nc\n"), "a.csv:4: 1 cells, but the header names 2 columns");
    expect_start(error_of("a.csv", "text\n\"a\"b\n"), "a.csv:2: text after the closing quote of cell 1");
    expect_start(error_of("a.csv", "text\n\"a\nb\n"), "a.csv:2: a cell starts with a quote that is never closed");
    expect_start(error_of("a.csv", "text\ncaf\xE9\n"), "a.csv:2: column \"text\" is not UTF-8");
    expect_start(error_of("a.csv", "t\xE9xt\na\n"), "a.csv:1: the header is not UTF-8");
    expect_start(error_of("a.csv", "text,text\na,b\n"), "a.csv:2: the field \"text\" appears twice");
    expect_start(error_of("a.csv", "a,b\n1,2\n"), "a.csv:2: no known set of columns: found \"a\", \"b\"; wanted");
}

TEST_CASE("files that cannot be data are told apart", "[data][reader]") {
    expect_within(error_of("a.txt", "x"), "the name must end in .jsonl, .json, .csv or .tsv");
    for (const char* empty : {"", "\n\n", "\xEF\xBB\xBF"})
        for (const char* name : {"a.jsonl", "a.json", "a.csv"})
            expect_start(error_of(name, empty), std::string(name) + " holds no records");
    expect_start(error_of("a.json", "[]"), "a.json holds no records");
    expect_start(error_of("a.csv", "input,output\n"), "a.csv holds no records");
    expect_within(error_of("a.jsonl", std::string("\xFF\xFE{\0\"\0", 6)), "is UTF-16");
    const TempFile file("a.jsonl", "{}");
    CHECK_THROWS_WITH(read_records(file.folder() + "/none.jsonl", {}, [](Record&&) {}),
                      "cannot open " + file.folder() + "/none.jsonl: No such file or directory");
    std::filesystem::create_directory(file.folder() + "/d.jsonl");
    CHECK_THROWS_WITH(read_records(file.folder() + "/d.jsonl", {}, [](Record&&) {}),
                      file.folder() + "/d.jsonl is a directory; name a file in it");
}

TEST_CASE("nesting 200,000 deep is an error and not a stack overflow", "[data][reader]") {
    const std::string open(200000, '[');
    for (const std::string& value : {open, open + std::string(200000, ']')}) {
        expect_start(error_of("a.jsonl", "{\"text\": " + value + "}"), "a.jsonl:1: nested more than 100 deep");
        expect_start(error_of("a.json", "[{\"text\": " + value + "}]"), "a.json: record 1: nested more than 100 deep");
    }
    expect_start(error_of("a.json", open), "a.json: record 1: ");
    std::string objects;
    for (int i = 0; i < 200000; ++i) objects += "{\"a\":";
    expect_start(error_of("a.jsonl", objects), "a.jsonl:1: nested more than 100 deep");
    // An ignored column may hold a tree.
    CHECK(error_of("a.jsonl", "{\"text\": \"a\", \"x\": " + std::string(90, '[') + std::string(90, ']') + "}") == "");
}

TEST_CASE("a long line or name does not make a long message", "[data][reader]") {
    const std::string junk(100000, 'x');
    CHECK(error_of("a.jsonl", junk).size() < 300);
    CHECK(error_of("a.jsonl", "{\"" + junk + "\": 1}").size() < 300);
    CHECK(error_of("a.jsonl", "{\"text\": \"" + junk).size() < 300);
    std::string many = "{\"c\": 1";
    for (int i = 0; i < 1000; ++i) many += ", \"column" + std::to_string(i) + "\": 1";
    expect_within(error_of("a.jsonl", many + "}"), "and 981 more");
    expect_within(error_of("a.jsonl", "{\"\\u0007\\u001b[31m\": 1}"), "found \"??[31m\";");
}

TEST_CASE("not strict: bad records are left out, counted and listed, and the good ones keep their place",
          "[data][reader]") {
    const auto lenient = [](const std::string& name, const std::string& content) {
        const TempFile file(name, content);
        std::vector<int64_t> kept;
        const SkippedRecords skipped =
            read_records(file.path(), {false, 10}, [&](Record&& record) { kept.push_back(record.index); });
        for (const std::string& reason : skipped.reasons) expect_within(reason, file.path() + ":");
        return std::pair(kept, skipped.count);
    };
    CHECK(lenient("a.jsonl",
                  "{\"text\": \"a\"}\nnonsense\n{\"input_ids\": [10]}\n\n{\"text\": \"b\"}\n[]\n{\"text\": \"c\"}") ==
          std::pair(std::vector<int64_t>{0, 3, 5}, int64_t{3}));
    CHECK(lenient("a.json", R"([{"text": "a"}, 5, [{"text": "no"}], {"x": 1}, {"text": "b"}])") ==
          std::pair(std::vector<int64_t>{0, 4}, int64_t{3}));
    CHECK(lenient("a.csv", "text,x\na,1\nb\n\"c\"c,1\nd,1\n") == std::pair(std::vector<int64_t>{0, 3}, int64_t{2}));
    // Nothing is left, or the next record cannot be found: still an error.
    expect_start(error_of("a.jsonl", "nonsense\n5\n", {false}),
                 "a.jsonl: none of its 2 records can be used; the first: ");
    expect_start(error_of("a.json", "[{\"text\": \"a\"}, {", {false}), "a.json:1: record 2");
    expect_within(error_of("a.csv", "text\na\n\"b\n", {false}), "never closed");
}

TEST_CASE("the list of what was skipped is bounded, its count is not", "[data][reader]") {
    std::string content = "{\"text\": \"a\"}\n";
    for (int i = 0; i < 50; ++i) content += "x\n";
    const TempFile file("a.jsonl", content);
    const SkippedRecords skipped = read_records(file.path(), {false}, [](Record&&) {});
    CHECK(skipped.count == 50);
    CHECK(skipped.reasons.size() == SkippedRecords::kMostListed);
}

TEST_CASE("what the caller throws passes through, strict or not", "[data][reader]") {
    for (const char* name : {"a.jsonl", "a.json"}) {
        const TempFile file(name, name == std::string("a.json") ? "[{\"text\": \"a\"}]" : "{\"text\": \"a\"}");
        CHECK_THROWS_WITH(read_records(file.path(), {false}, [](Record&&) { fail("stop"); }), "stop");
    }
}

TEST_CASE("no bytes, however broken, do worse than an Error", "[data][reader]") {
    const std::vector<std::string> pieces = {"{",
                                             "}",
                                             "[",
                                             "]",
                                             "\"",
                                             ",",
                                             ":",
                                             "\n",
                                             "\r",
                                             "\t",
                                             "\\",
                                             "\\u12",
                                             "\xFF",
                                             "\xC3",
                                             "\"text\"",
                                             "\"input_ids\"",
                                             "\"labels\"",
                                             "1",
                                             "-100",
                                             "2.5",
                                             "null",
                                             "true",
                                             "a",
                                             "[1,2]",
                                             "{\"text\":\"a\"}",
                                             "text",
                                             "input_ids",
                                             std::string(1, '\0')};
    std::mt19937 random(5);
    for (int i = 0; i < 4000; ++i) {
        std::string content = i % 2 ? "" : "text,input_ids\n";
        for (unsigned n = random() % 20; n > 0; --n) content += pieces[random() % pieces.size()];
        static constexpr const char* kNames[] = {"a.jsonl", "a.json", "a.csv", "a.tsv"};
        const std::string message = error_of(kNames[random() % 4], content, {random() % 2 == 0, 3});
        CHECK(find_invalid_utf8(message) == message.npos);
    }
}
