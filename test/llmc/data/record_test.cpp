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

TEST_CASE("columns nobody asked for are ignored, whatever is in them", "[data][reader]") {
    const std::vector<Record> records = records_of(
        "a.jsonl", R"({"id": 7, "meta": {"input": "no", "list": [1, {"output": [2.5]}]}, "tags": ["a", [1], null],)"
                   R"( "input": "i", "ok": true, "score": 1e3, "output": "o", "big": 99999999999999999999})");
    REQUIRE(records.size() == 1);
    check_pair(records[0], "i", "o");
}
