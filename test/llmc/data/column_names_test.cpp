// Columns under other names, those that nobody reads, and those that must not be dropped.
#include "llmc/data/column_names.h"

#include <algorithm>

#include "test/catch.h"
#include "test/llmc/data/reading.h"

using namespace llmc;
using test::check_pair;
using test::expect_within;
using Sentences = std::vector<std::string>;

namespace {

ReaderOptions named(const std::string& names) {
    return {true, {0, parse_column_names(names)}};
}

std::string error_of(const std::string& row, const std::string& names = "") {
    return test::error_of("a.jsonl", row, named(names));
}

Sentences notes_of(const std::string& rows, const std::string& names = "") {
    const TempFile file("a.jsonl", rows);
    return read_records(file.path(), named(names), [](Record&&) {}).notes.sentences();
}

}  // namespace

TEST_CASE("a row that is of no kind is told under the file's own names", "[data][reader]") {
    expect_within(error_of(R"({"q": "a", "a": "b"})", "input=q,output=b"), "found \"q\", \"a\"; wanted");
}

TEST_CASE("names of columns are written as pairs", "[data][columns]") {
    const std::vector<ColumnName> names = parse_column_names("input=question, output = the answer");
    REQUIRE(names.size() == 2);
    CHECK(names[0].ours == "input");
    CHECK(names[0].theirs == "question");
    CHECK(names[1].theirs == "the answer");
    CHECK(parse_column_names("").empty());
    const auto error = [](const std::string& text) { return test::error_of([&] { parse_column_names(text); }); };
    CHECK(error("question") == "\"question\" is no pair of names; write input=question,output=reply");
    CHECK(error("input=") == "\"input=\" is no pair of names; write input=question,output=reply");
    CHECK(error("input=a,,output=b").find("\"\" is no pair of names") == 0);
    CHECK(error("in=a").find("there is no column in to be read; there are answer, ") == 0);
    CHECK(error("question2=input") ==
          "there is no column question2 to be read; the file's own name comes last: "
          "input=question2");
    CHECK(error("input=a,input=b") == "the names input=b and input=a contradict each other");
    CHECK(error("input=a,output=a") == "the names output=a and input=a contradict each other");
    CHECK(std::ranges::is_sorted(known_columns()));
}

TEST_CASE("columns are read under the names that files have for them", "[data][columns]") {
    const auto read = [](const std::string& row, const std::string& names) {
        return test::records_of("a.jsonl", row, named(names))[0];
    };
    check_pair(read(R"({"q": "a", "r": "b"})", "input=q,output=r"), "a", "b");
    // A column of ours gives way, also where two names change places.
    check_pair(read(R"({"q": "a", "input": "x", "output": "b"})", "input=q"), "a", "b");
    check_pair(read(R"({"input": "a", "output": "b"})", "input=output,output=input"), "b", "a");
    CHECK(read(R"({"sys": "s", "question": "q", "answer": "a"})", "system=sys").system == "s");
    CHECK(
        read(R"({"chat": [{"role": "user", "content": "u"}, {"role": "assistant", "content": "a"}]})", "messages=chat")
            .kind == Record::Kind::conversation);
    CHECK(test::records_of("a.csv", "q,r\n1,2\n", named("input=q,output=r"))[0].target == "2");
    CHECK(notes_of(R"({"question": "q", "answer": "a"})", "system=sys") ==
          Sentences{"columns that --columns names and no row has: \"sys\""});
    CHECK(notes_of("{\"question\": \"q\", \"answer\": \"a\"}\n{\"question\": \"q\", \"answer\": \"a\", \"sys\": null}",
                   "system=sys") == Sentences{});
}

TEST_CASE("unknown columns are answered with a guess at what they are", "[data][columns]") {
    const auto advice = [](const std::string& row) {
        const std::string text = error_of(row);
        return text.substr(std::min(text.rfind("; or name"), text.size()));
    };
    CHECK(advice(R"({"user_query": "a", "model_response": "b", "id": 1})") ==
          "; or name yours with --columns input=user_query,output=model_response");
    CHECK(advice(R"({"Question": "a", "Answer": "b"})") ==
          "; or name yours with --columns input=Question,output=Answer");
    CHECK(advice(R"({"problem": "a", "solution": "b", "answer": "c"})") ==
          "; or name yours with --columns input=problem,output=answer");
    CHECK(advice(R"({"x": "a", "y": "b"})") == "; or name yours with --columns input=NAME,output=NAME");
}

TEST_CASE("columns that nothing reads are named once", "[data][columns]") {
    CHECK(notes_of("{\"question\": \"q\", \"answer\": \"a\", \"id\": 7, \"source\": \"s\", \"empty\": null}\n"
                   "{\"id\": 8, \"question\": \"q\", \"answer\": \"a\", \"url\": \"\", \"tags\": []}") ==
          Sentences{"columns that nothing reads: \"id\", \"source\""});
    CHECK(notes_of(R"({"question": "q", "answer": "a"})") == Sentences{});
    // What belongs to another set of columns is not read either.
    CHECK(notes_of(R"({"instruction": "i", "output": "o", "text": "t"})") ==
          Sentences{"columns that nothing reads: \"text\""});
    std::string many = R"({"text": "t")";
    for (int i = 0; i < 60; ++i) many += ", \"c" + std::to_string(i) + "\": 1";
    expect_within(notes_of(many + "}")[0], "\"c49\" and more");
}

TEST_CASE("columns that would change what is trained on are not dropped", "[data][columns]") {
    for (const char* field : {R"("weight": 0.5)", R"("loss_mask": [0, 1])", R"("sample_weight": 2)", R"("mask": "01")",
                              R"("images": ["a.png"])", R"("train": false)", R"("documents": [{}])",
                              R"("functions": [{"name": "f"}])", R"("chat_template": "{{ x }}")"}) {
        CAPTURE(field);
        expect_within(error_of(concat(R"({"question": "q", "answer": "a", )", field, "}")),
                      "is not supported, and to leave it out could train on something else than the row asks for");
    }
    for (const char* field : {R"("weight": 1)", R"("weight": "1")", R"("loss_mask": null)", R"("images": [])",
                              R"("train": true)", R"("weighting": "x")", R"("bookmask_id": 3)"}) {
        CAPTURE(field);
        CHECK(error_of(concat(R"({"question": "q", "answer": "a", )", field, "}")) == "");
    }
}

TEST_CASE("system, history, context and tools stand beside pairs", "[data][columns]") {
    const auto read = [](const std::string& fields) {
        return test::records_of("a.jsonl", R"({"instruction": "i", "output": "o", )" + fields + "}")[0];
    };
    Record record = read(R"("system": "s", "history": [["q1", "a1"], ["q2", "a2"]], "input": "n", "context": "c")");
    check_pair(record, "c\ni\nn", "o");
    CHECK(
        to_conversation(record).messages.dump() ==
        R"([{"role":"system","content":"s"},{"role":"user","content":"q1"},{"role":"assistant","content":"a1"},)"
        R"({"role":"user","content":"q2"},{"role":"assistant","content":"a2"},)"
        R"({"role":"user","content":"c\ni\nn","instruction":"i","input":"c\nn"},{"role":"assistant","content":"o"}])");
    CHECK(to_conversation(record).trained.empty());
    const std::string needs = " needs a chat template that lays it out; choose one with --template";
    CHECK(test::error_of([&] { plain_source(record); }) == "the field \"history\"" + needs);
    CHECK(plain_source(read(R"("system_prompt": "s")")) == "s\ni");
    CHECK(plain_source(read(R"("system": "", "history": [], "context": "")")) == "i");
    record = read(R"("tools": [{"name": "f"}])");
    CHECK(to_conversation(record).tools.dump() == R"([{"name":"f"}])");
    CHECK(test::error_of([&] { plain_source(record); }) == "the field \"tools\"" + needs);
    const Record question = test::records_of("a.jsonl", R"({"question": "q", "answer": "a", "context": "c"})")[0];
    CHECK(plain_source(question) == "c\nq");
    CHECK(to_conversation(question).messages[0].dump() == R"({"role":"user","content":"c\nq"})");
    CHECK(test::records_of("a.csv", "question,answer,history\nq,a,\"[[\"\"x\"\",\"\"y\"\"]]\"\n")[0].history.size() ==
          1);

    const auto error = [](const std::string& field) {
        return error_of(R"({"question": "q", "answer": "a", )" + field + "}");
    };
    const std::string turns =
        "a.jsonl:1: the field \"history\" must be a list of earlier turns such as [\"a question\", \"its answer\"]";
    for (const char* history : {R"(["q", "a"])", R"([["q"]])", R"([["q", 1]])", R"({"q": "a"})", "7"})
        CHECK(error(concat("\"history\": ", history)) == turns);
    expect_within(error(R"("system": 5)"), "\"system\" is 5, but must be a string");
    expect_within(error(R"("context": ["a"])"), "\"context\" is a list with a string");
    expect_within(error(R"("system": "a", "system_prompt": "b")"), "hold different texts");
}
