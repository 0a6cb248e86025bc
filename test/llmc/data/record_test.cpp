#include "llmc/data/record.h"

#include "llmc/core/error.h"
#include "test/catch.h"
#include "test/llmc/data/reading.h"

using namespace llmc;
using test::check_pair;
using test::error_of;
using test::expect_start;
using test::expect_within;
using test::records_of;
using Ints = std::vector<int32_t>;

TEST_CASE("every set of columns is read as documented", "[data][reader]") {
    const std::vector<Record> records =
        records_of("a.jsonl", R"({"input": "i", "output": "o"})"
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
    const std::vector<Record> records = records_of(
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
            const std::vector<Record> records = records_of(file.front() == '[' ? "a.json" : "a.jsonl", file);
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
    check_pair(records_of("a.jsonl", R"({"messages": [1, 2], "conversations": 3, "input": "i", "output": "o"})")[0],
               "i", "o");
    check_pair(records_of("a.jsonl", R"({"messages": [], "prompt": "a", "completion": "b"})")[0], "a", "b");
    const std::string conversation = R"([{"from": "human", "value": "u"}, {"from": "gpt", "value": "a"}])";
    CHECK(records_of("a.jsonl", R"({"messages": [], "conversations": )" + conversation + "}")[0].messages.size() == 2);
}

TEST_CASE("a prompt and a completion that are lists of messages are one conversation", "[data][reader]") {
    const auto row = [](const std::string& prompt, const std::string& completion) {
        return R"({"prompt": [)" + prompt + R"(], "completion": [)" + completion + "]}";
    };
    const std::string system = R"({"role": "system", "content": "s"})", user = R"({"role": "user", "content": "u"})",
                      answer = R"({"role": "assistant", "content": "a"})";
    const Record record = records_of("a.jsonl", row(system + "," + user, answer))[0];
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
    const auto first = [&](const std::string& row) { return records_of("a.jsonl", "{" + row + "}")[0].messages[0]; };
    for (const char* name : {"conversations", "messages"}) {
        const std::string begin = concat("\"", name, "\": [");
        const Record record = records_of("a.jsonl", "{\"system\": \"s\", " + begin + turn + "}")[0];
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
    check_pair(records_of("a.jsonl", R"({"system": "s", "question": "q", "answer": "a"})")[0], "q", "a");
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
        CHECK(records_of("a.jsonl", R"({"messages": [)" + user + "," + with + "]}").size() == 1);
    }
    CHECK(records_of("a.jsonl", R"({"messages": [{"role": "user", "content": "u", "weight": 0},)" + assistant + "]}")
              .size() == 1);
    // The other one may be null, as in a table with rows of both kinds.
    CHECK(records_of("a.jsonl", R"({"messages": [{"role": "user", "from": null, "content": "u", "value": null},)" +
                                    assistant + "]}")
              .size() == 1);
    CHECK(problem(user + ", [" + assistant + "]") == "message 2 is a list");
    // A bad one does not spoil the next.
    CHECK(records_of("a.json", R"([{"messages": [{}]}, {"messages": [)" + user + "," + assistant + "]}]", {false})
              .size() == 1);
}

TEST_CASE("columns nobody asked for are ignored, whatever is in them", "[data][reader]") {
    const std::vector<Record> records = records_of(
        "a.jsonl", R"({"id": 7, "meta": {"input": "no", "list": [1, {"output": [2.5]}]}, "tags": ["a", [1], null],)"
                   R"( "input": "i", "ok": true, "score": 1e3, "output": "o", "big": 99999999999999999999})");
    REQUIRE(records.size() == 1);
    check_pair(records[0], "i", "o");
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
