// Rows of token ids, with masks, padding and several sequences.
#include "test/catch.h"
#include "test/llmc/data/reading.h"

using namespace llmc;
using test::expect_within;
using test::records_of;
using Ints = std::vector<int32_t>;

namespace {

std::string error_in(const std::string& fields) {
    return test::error_of("a.jsonl", "{" + fields + "}", {true, {100, {}}});
}

std::vector<Record> read(const std::string& fields) {
    return records_of("a.jsonl", "{" + fields + "}", {true, {100, {}}});
}

Record read_one(const std::string& fields) {
    std::vector<Record> records = read(fields);
    REQUIRE(records.size() == 1);
    return records[0];
}

}  // namespace

TEST_CASE("errors about ids say what they may be", "[data][reader]") {
    CHECK(error_in(R"("input_ids": [1, -1])") ==
          "a.jsonl:1: the field \"input_ids\" has -1 at position 1, but token ids go from 0 to 99");
    CHECK(error_in(R"("input_ids": [-100])") ==
          "a.jsonl:1: the field \"input_ids\" has -100 at position 0, but token ids go from 0 to 99");
    CHECK(error_in(R"("input_ids": [1, 100])") ==
          "a.jsonl:1: the field \"input_ids\" has 100 at position 1, but token ids go from 0 to 99; was it tokenised "
          "for another model?");
    CHECK(error_in(R"("input_ids": [99])") == "");
    CHECK(error_in(R"("input_ids": [1, 2.5])") ==
          "a.jsonl:1: the field \"input_ids\" is a list with 2.5 at position 1, but must be a list of integers");
    expect_within(error_in(R"("input_ids": [[1, 2]])"), "is a list with a list at position 0");
    expect_within(error_in(R"("input_ids": ["1"])"), "is a list with a string at position 0");
    expect_within(error_in(R"("input_ids": [1, null])"), "is a list with null at position 1");
    expect_within(error_in(R"("input_ids": [18446744073709551615])"),
                  "is a list with 18446744073709551615 at position 0");
    expect_within(error_in(R"("input_ids": 5)"), "\"input_ids\" is 5, but must be a list");
    CHECK(error_in(R"("input_ids": [1, 2, 3], "labels": [1, 2])") ==
          "a.jsonl:1: \"input_ids\" has 3 entries, but \"labels\" has 2; give each id a label, -100 where it has no "
          "loss");
    CHECK(error_in(R"("input_ids": [1, 2], "labels": [-100, -99])") ==
          "a.jsonl:1: the field \"labels\" has -99 at position 1, but token ids go from 0 to 99 (-100: no loss)");
    expect_within(error_in(R"("input_ids": [1, 2], "labels": [-100, 100])"), "\"labels\" has 100 at position 1");
    // Without a vocabulary any id of 32 bits is accepted.
    CHECK(test::error_of("a.jsonl", R"({"input_ids": [2147483647]})") == "");
    expect_within(test::error_of("a.jsonl", R"({"input_ids": [2147483648]})"), "go from 0 to 2147483647");
}

TEST_CASE("a mask takes tokens out of the loss, and masks and labels add up", "[data][reader]") {
    for (const char* name : {"completion_mask", "assistant_masks", "loss_mask"}) {
        CAPTURE(name);
        const std::string mask = concat("\"input_ids\": [5, 6, 7, 8], \"", name, "\": ");
        CHECK(read_one(mask + "[0, 0, 1, 1]").labels == Ints{-100, -100, 7, 8});
        CHECK(read_one(mask + "[false, true, false, true]").labels == Ints{-100, 6, -100, 8});
        CHECK(read_one(mask + "[0, 1, 1, 1], \"labels\": [-100, 6, -100, 9]").labels == Ints{-100, 6, -100, 9});
        CHECK(read_one(mask + "null").labels == Ints{5, 6, 7, 8});
        CHECK(error_in(mask + "[0, 1, 1]") ==
              concat("a.jsonl:1: \"input_ids\" has 4 entries, but \"", name, "\" has 3; give each id a 0 or a 1"));
        CHECK(error_in(mask + "[0, 1, 2, 1]") ==
              concat("a.jsonl:1: the field \"", name, "\" has 2 at position 2, but may hold 0 and 1 only"));
        expect_within(error_in(mask + "[0, 1, 0.5, 1]"), "is a list with 0.5 at position 2");
        expect_within(error_in(mask + "1"), concat("\"", name, "\" is 1, but must be a list"));
    }
    CHECK(read_one(R"("input_ids": [5, 6, 7], "loss_mask": [0, 1, 1], "completion_mask": [1, 1, 0])").labels ==
          Ints{-100, 6, -100});
    CHECK(records_of("a.csv", "input_ids,loss_mask\n\"[5, 6]\",[0 1]\n")[0].labels == Ints{-100, 6});
}

TEST_CASE("padding is left out at the ends and refused inside", "[data][reader]") {
    const Record left = read_one(
        R"("input_ids": [9, 9, 5, 6, 7], "attention_mask": [0, 0, 1, 1, 1], "labels": [-100, -100, -100, 6, 7])");
    CHECK(left.input_ids == Ints{5, 6, 7});
    CHECK(left.labels == Ints{-100, 6, 7});
    const Record both =
        read_one(R"("input_ids": [9, 5, 6, 9], "attention_mask": [0, 1, 1, 0], "position_ids": [1, 0, 1, 1])");
    CHECK(both.input_ids == Ints{5, 6});
    CHECK(read_one(R"("input_ids": [5, 6], "attention_mask": [1, 1])").input_ids == Ints{5, 6});
    CHECK(read_one(R"("input_ids": [5, 6], "attention_mask": [0, 0])").input_ids.empty());
    expect_within(error_in(R"("input_ids": [5, 6, 7], "attention_mask": [1, 0, 1])"),
                  "a.jsonl:1: the field \"attention_mask\" has zeros between ones");
    expect_within(error_in(R"("input_ids": [5, 6, 7], "attention_mask": [1, 1])"), "\"attention_mask\" has 2");
    expect_within(error_in(R"("input_ids": [5, 6, 7], "attention_mask": [1, 2, 2])"),
                  "\"attention_mask\" has 2 at position 1, but may hold 0 and 1 only");
}

TEST_CASE("a row that packs sequences becomes a record for each", "[data][reader]") {
    for (const char* told : {R"("seq_lengths": [2, 3])", R"("position_ids": [0, 1, 0, 1, 2])",
                             R"("seq_lengths": [2, 3], "position_ids": [0, 1, 2, 3, 4])",
                             R"("seq_lengths": [2, 3], "position_ids": [0, 1, 0, 1, 2])"}) {
        CAPTURE(told);
        const std::vector<Record> records =
            read(concat(R"("input_ids": [5, 6, 7, 8, 9], "loss_mask": [0, 1, 0, 0, 1], )", told));
        REQUIRE(records.size() == 2);
        CHECK(records[0].input_ids == Ints{5, 6});
        CHECK(records[0].labels == Ints{-100, 6});
        CHECK(records[1].input_ids == Ints{7, 8, 9});
        CHECK(records[1].labels == Ints{-100, -100, 9});
        CHECK(records[1].index == 0);
        CHECK(records[1].where == records[0].where);
    }
    CHECK(read_one(R"("input_ids": [5, 6, 7], "position_ids": [0, 1, 2])").input_ids == Ints{5, 6, 7});
    CHECK(read_one(R"("input_ids": [5, 6, 7], "seq_lengths": [3])").input_ids == Ints{5, 6, 7});
    const std::string ids = R"("input_ids": [5, 6, 7], )";
    expect_within(error_in(ids + R"("seq_lengths": [1, 1])"), "add up to 2, but \"input_ids\" has 3 entries");
    expect_within(error_in(ids + R"("seq_lengths": [2, 2])"), "\"seq_lengths\" must be positive, and their sum the 3");
    expect_within(error_in(ids + R"("seq_lengths": [0, 3])"), "\"seq_lengths\" must be positive");
    expect_within(error_in(ids + R"("seq_lengths": [9223372036854775807, 1])"), "\"seq_lengths\" must be positive");
    expect_within(error_in(ids + R"("position_ids": [0, 2, 3])"), "\"position_ids\" has 2 at position 1; positions");
    expect_within(error_in(ids + R"("position_ids": [1, 2, 3])"), "\"position_ids\" has 1 at position 0; positions");
    expect_within(error_in(ids + R"("position_ids": [0, 1])"), "\"position_ids\" has 2; give each id its position");
    expect_within(error_in(ids + R"("seq_lengths": [1, 2], "position_ids": [0, 1, 0])"), "tell different sequences");
    expect_within(error_in(ids + R"("seq_lengths": [1, 2], "attention_mask": [1, 1, 0])"), "leave the padding out");
}

TEST_CASE("a row without tokens is a record all the same", "[data][reader]") {
    CHECK(read(R"("input_ids": [5, 6], "attention_mask": [0, 0], "position_ids": [0, 1])").size() == 1);
    CHECK(read(R"("input_ids": [], "position_ids": [])").size() == 1);
}

TEST_CASE("columns beside ids that would change the loss or the sequences are not dropped", "[data][reader]") {
    for (const char* name : {"loss_weights", "weights", "my_mask", "segment_ids", "cu_seqlens", "document_ids"}) {
        CAPTURE(name);
        CHECK(error_in(concat(R"("input_ids": [5, 6], ")", name, R"(": [0, 1])")) ==
              concat("a.jsonl:1: the field \"", name,
                     "\" is not supported, and to leave it out could train on something else than the row asks for; "
                     "remove the column, or the row"));
    }
    // Some say nothing, or nothing about the loss.
    for (const char* field : {R"("weights": [1, 1.0])", R"("my_mask": null)", R"("special_tokens_mask": [1, 0])",
                              R"("token_type_ids": [0, 0])", R"("length": 2)"})
        CHECK(error_in(concat(R"("input_ids": [5, 6], )", field)) == "");
}
