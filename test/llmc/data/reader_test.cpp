#include "llmc/data/reader.h"

#include <random>

#include "llmc/core/error.h"
#include "llmc/core/utf8.h"
#include "test/catch.h"
#include "test/llmc/data/reading.h"
#include "test/llmc/io/gzip.h"

using namespace llmc;
using test::check_pair;
using test::error_of;
using test::expect_start;
using test::expect_within;
using test::records_of;
using Ints = std::vector<int32_t>;

TEST_CASE("JSON lines may end in CRLF, be blank, and start with a byte order mark", "[data][reader]") {
    const std::vector<Record> records =
        records_of("a.jsonl", "\xEF\xBB\xBF{\"text\": \"one\\u00e9\\n\"}\r\n\r\n  \n{\"text\": \"two\"}\r\n");
    REQUIRE(records.size() == 2);
    CHECK(records[0].target == "one\xC3\xA9\n");
    CHECK(records[1].target == "two");
    CHECK(records[1].index == 1);
    expect_within(records[1].where, "a.jsonl:4");
}

TEST_CASE("JSON is an array of objects or lines of them, whatever the name says", "[data][reader]") {
    const std::vector<Record> array =
        records_of("a.json", "\n [ {\"text\": \"one\", \"x\": [{}]},\n {\"input_ids\": [], \"labels\": []} ]\n");
    REQUIRE(array.size() == 2);
    CHECK(array[0].target == "one");
    CHECK(array[1].kind == Record::Kind::tokens);
    expect_within(array[1].where, "a.json: record 2");
    const std::vector<Record> lines = records_of("a.JSON", "{\"text\": \"one\"}\n{\"text\": \"two\"}\n");
    REQUIRE(lines.size() == 2);
    CHECK(lines[1].target == "two");
    CHECK(records_of("a.jsonl", "[{\"text\": \"one\"},\n{\"text\": \"two\"}]").size() == 2);
}

TEST_CASE("the name tells the format, also in front of .gz", "[data][reader]") {
    const std::string lines = "{\"text\": \"one\"}\n{\"text\": \"two\"}\n";
    for (const char* name : {"a.jsonl", "a.ndjson", "a.json", "a.NDJSON"}) {
        CHECK(records_of(name, lines).size() == 2);
        const std::string packed = std::string(name) + ".gz";
        CHECK(records_of(packed, test::gzip(lines)).size() == 2);
        CHECK(records_of(packed, lines).size() == 2);  // unpacked by whoever copied it
    }
    CHECK(records_of("a.json.GZ", test::gzip("\n[{\"text\": \"one\"}]"))[0].target == "one");
    check_pair(records_of("a.csv.gz", test::gzip("question,answer\nq,a\n"))[0], "q", "a");
    check_pair(records_of("a.tsv.gz", test::gzip("question\tanswer\r\nq\ta\r\n"))[0], "q", "a");
    expect_within(error_of("a.gz", test::gzip(lines)),
                  "a.gz: the name must end in .jsonl, .ndjson, .json, .csv or .tsv");
    expect_start(error_of("a.jsonl.gz", test::gzip(lines + "nonsense\n")), "a.jsonl.gz:3: column 2 is not JSON");
    expect_start(error_of("a.jsonl.gz", test::gzip(lines).substr(0, 20)),
                 "a.jsonl.gz: the file ends in the middle of its packed data");
    expect_start(error_of("a.json", "\n\n[{\"text\": \"a\"},\n {\"text\" \"b\"}]"),
                 "a.json:4: record 2, column 12 is not JSON");
    expect_start(error_of("a.json", "\n\n{\"txt\": \"a\"}"), "a.json:3: no known set of columns");
}

TEST_CASE("files of other programs are refused with what converts them", "[data][reader]") {
    CHECK(error_of("train.parquet", "PAR1") ==
          "train.parquet: Parquet is not read; convert it with: python3 -c \"import pandas; "
          "pandas.read_parquet('train.parquet').to_json('train.jsonl', orient='records', lines=True)\"");
    expect_within(error_of("a.arrow", "ARROW1"), "datasets.Dataset.from_file('a.arrow').to_json('a.jsonl'");
    CHECK(error_of("a.gguf", "GGUF") == "a.gguf: a GGUF file holds a model and no examples");
}

TEST_CASE("CSV follows RFC 4180", "[data][reader]") {
    const std::vector<Record> records = records_of("a.csv",
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
    const std::vector<Record> records = records_of("a.tsv", "question\tanswer\na, b\t\"c\td\"\n");
    REQUIRE(records.size() == 1);
    check_pair(records[0], "a, b", "c\td");
}

TEST_CASE("lists of ids in CSV cells", "[data][reader]") {
    const std::vector<Record> records =
        records_of("a.csv", "input_ids,labels\n\"[1, 2,3]\",\"[-100,2,3]\"\n[4 5  6],\n[ ],[]\n");
    REQUIRE(records.size() == 3);
    CHECK(records[0].input_ids == Ints{1, 2, 3});
    CHECK(records[0].labels == Ints{-100, 2, 3});
    CHECK(records[1].input_ids == Ints{4, 5, 6});
    CHECK(records[1].labels == Ints{4, 5, 6});
    CHECK(records[2].input_ids.empty());
    for (const char* cell : {"1 2", "[1", "[1,]", "[,1]", "[2.5]", "[1] 2", "[a]", "[1 -]", "[99999999999999999999]"}) {
        INFO(cell);
        expect_start(error_of("a.csv", std::string("input_ids\n\"") + cell + "\"\n"),
                     "a.csv:2: the field \"input_ids\" must be a list of integers");
    }
}

TEST_CASE("errors name the file, the line, the field and the way out", "[data][reader]") {
    const auto second = [](const std::string& line) {
        return error_of("a.jsonl", "{\"text\": \"fine\"}\n" + line, {true, {100, {}}});
    };
    CHECK(second(R"({"inputs": "a", "targets": null})") ==
          "a.jsonl:2: no known set of columns: found \"inputs\", \"targets\" (null); wanted input_ids (and labels), "
          "messages, instruction (and input) and output, input and output, prompt and completion, question and answer, "
          "or text; or name yours with --columns input=NAME,output=NAME");
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
    expect_within(error_of("a.txt", "x"), "the name must end in .jsonl, .ndjson, .json, .csv or .tsv");
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

TEST_CASE("a row that fills the memory is an error", "[data][reader]") {
    // 5 MB of text that would be 80 MB of values.
    std::string list = "[0";
    for (int i = 0; i < 2500000; ++i) list += ",0";
    const std::string row = "{\"text\": \"a\", \"x\": " + list + "," + list.substr(1) + "]}";
    expect_start(error_of("a.jsonl", row), "a.jsonl:1: takes more than 64.00 MiB of memory; an example is far shorter");
    expect_start(error_of("a.json", "[" + row + "]"), "a.json: record 1: takes more than 64.00 MiB of memory");
}

TEST_CASE("a quote that nobody closes does not read the whole file into memory", "[data][reader]") {
    const std::string rows(size_t{65} << 20, 'x');
    CHECK(error_of("a.csv", "text\na\n\"" + rows) ==
          "a.csv:3: the row is longer than 64.00 MiB; is a quote missing that closes a cell?");
    expect_start(error_of("a.csv", "text\n" + std::string(3 << 20, ',')), "a.csv:2: the row is longer");
}

TEST_CASE("an object with many fields is read in linear time", "[data][reader]") {
    std::string fields = "{\"f\": 1";
    for (int i = 0; i < 50000; ++i) fields += ", \"f" + std::to_string(i) + "\": 1";
    CHECK(error_of("a.jsonl", "{\"text\": \"a\", \"x\": " + fields + "}}") == "");
    CHECK(error_of("a.jsonl", "{\"text\": \"a\", \"x\": " + fields + ", \"f7\": 2}}") ==
          "a.jsonl:1: the field \"f7\" appears twice in an object of \"x\"; keep one of them");
    CHECK(error_of("a.jsonl", fields + ", \"text\": \"a\"}") == "");
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
        const SkippedRecords skipped = read_records(file.path(), {false, {10, {}}}, [&](Record&& record) {
                                           kept.push_back(record.index);
                                       }).skipped;
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
    expect_start(error_of("a.jsonl", "nonsense\n5\n", {false, {}}),
                 "a.jsonl: none of its 2 records can be used; the first: ");
    expect_start(error_of("a.json", "[{\"text\": \"a\"}, {", {false, {}}), "a.json:1: record 2");
    expect_within(error_of("a.csv", "text\na\n\"b\n", {false, {}}), "never closed");
}

TEST_CASE("the list of what was skipped is bounded, its count is not", "[data][reader]") {
    std::string content = "{\"text\": \"a\"}\n";
    for (int i = 0; i < 50; ++i) content += "x\n";
    const TempFile file("a.jsonl", content);
    const SkippedRecords skipped = read_records(file.path(), {false}, [](Record&&) {}).skipped;
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
        const std::string message = error_of(kNames[random() % 4], content, {random() % 2 == 0, {3, {}}});
        CHECK(find_invalid_utf8(message) == message.npos);
    }
}
