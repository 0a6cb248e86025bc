// Data sets in the columns of their publishers. The rows are made up.
#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "llmc/core/error.h"
#include "llmc/data/formats/format.h"
#include "test/catch.h"
#include "test/files.h"

using namespace llmc;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::StartsWith;

namespace {

std::vector<Field> row_of(const std::string& json) {
    std::vector<Field> fields;
    const Json object = Json::parse(json);
    for (const auto& [name, value] : object.items()) fields.push_back({name, value});
    return fields;
}

FormattedRow read(const std::string& format, const std::string& json, uint64_t seed = 0, int64_t index = 0) {
    return FormatReader({format, seed}).apply(row_of(json), index);
}

// The row as an object.
Json object_of(const FormattedRow& row) {
    Json object = Json::object();
    for (const Field& field : row.fields) object[field.name] = field.value;
    return object;
}

std::string refusal(const std::string& format, const std::string& json) {
    return test::error_of([&] { read(format, json); });
}

// The name of the format that a file with this first row is read as.
std::string recognised(const std::string& json) {
    FormatReader reader({});
    reader.apply(row_of(json), 0);
    return reader.format() ? reader.format()->name : "";
}

const std::string kGpqa = R"({"Question": " Which fruit? ", "Correct Answer": "plum\n", "Incorrect Answer 1": "brick",
    "Incorrect Answer 2": "rope", "Incorrect Answer 3": "sand", "Explanation": "A plum grows.", "Record ID": "x"})";
const std::string kMmluPro = R"({"question_id": 5, "question": "Which fruit?", "options": ["brick", "plum ", "rope"],
    "answer": "B", "answer_index": 1, "cot_content": "", "category": "food", "src": "made up"})";
const std::string kMathqa = R"({"Problem": "a train runs 3 hours", "Rationale": "3", "options":
    "a ) 1 , b ) 2 , c ) 3.5 , d ) none of these", "correct": "c", "annotated_formula": "f", "linear_formula": "g",
    "category": "physics"})";

}  // namespace

TEST_CASE("pairs keep their columns, without those that say nothing to a model", "[formats]") {
    const std::string alpaca = R"({"instruction": "Add.", "input": "1, 2", "output": "3", "text": "Below is ..."})";
    CHECK(object_of(read("alpaca", alpaca)) ==
          Json::parse(R"({"instruction": "Add.", "input": "1, 2", "output": "3"})"));
    CHECK(object_of(read("finance-alpaca", alpaca)) == object_of(read("alpaca", alpaca)));
    CHECK(object_of(read("alpaca-clean", alpaca)).contains("text"));  // has no such column: left to the reader
    CHECK(object_of(read("longform", R"({"input": "Write.", "output": "Words.", "source": "s", "subset": "t"})")) ==
          Json::parse(R"({"input": "Write.", "output": "Words."})"));
    CHECK(object_of(read("self-instruct", R"({"prompt": "Do:", "completion": " done.<|endoftext|>"})")) ==
          Json::parse(R"({"input": "Do:", "output": " done."})"));
    CHECK(object_of(read("self-instruct", R"({"prompt": "Do:", "completion": "<|endoftext|> done"})"))["output"] ==
          "<|endoftext|> done");
    // What no format knows stays, for the reader to honour or to name.
    CHECK(object_of(read("gsm8k", R"({"question": "q", "answer": "#### 1", "weight": 0})"))["weight"] == 0);
}

TEST_CASE("texts without a prompt stay texts", "[formats]") {
    CHECK(object_of(read("wikitext2", R"({"text": " = Plum = \n"})")) == Json::parse(R"({"text": " = Plum = \n"})"));
    CHECK(object_of(read("lambada", R"({"text": "she ate it", "domain": "d"})")) ==
          Json::parse(R"({"text": "she ate it"})"));
}

TEST_CASE("a dialogue of one turn is a pair, a longer one a conversation", "[formats]") {
    CHECK(object_of(read("chip2", R"({"text": "<human>: Hi there\n<bot>: Hello\nyou", "metadata": {"s": 1}})")) ==
          Json::parse(R"({"input": "Hi there", "output": "Hello\nyou"})"));
    const auto messages = [](const std::string& format, const std::string& json) {
        std::string said;
        const Json object = object_of(read(format, json));
        for (const Json& message : object["messages"])
            said += message["role"].get<std::string>().substr(0, 1) + ":" + message["content"].get<std::string>() + "|";
        return said;
    };
    CHECK(messages(
              "hh-rlhf",
              R"({"chosen": "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: And?\n\nAssistant: So.", "rejected": "x"})") ==
          "u:Hi|a:Hello|u:And?|a:So.|");
    CHECK(messages("oasst1", R"({"text": "### Human: A### Assistant: B### Human: C### Assistant: D### Human: E"})") ==
          "u:A|a:B|u:C|a:D|");
    // Two in a row belong together, and an answer may be blank.
    CHECK(messages("oasst1", R"({"text": "### Human: A### Human: B### Assistant: C### Human: D### Assistant:"})") ==
          "u:A\nB|a:C|u:D|a:|");
    CHECK(messages("chip2", R"({"text": "<human>: A\n<bot>: B\n<human>: C\n<bot>: D <human>: E"})") ==
          "u:A|a:B|u:C|a:D <human>: E|");

    CHECK_THAT(
        refusal("oasst1", R"({"text": "Hi### Assistant: B"})"),
        ContainsSubstring("the text must begin with \"### Human:\" or \"### Assistant:\", but begins with \"Hi"));
    CHECK_THAT(refusal("chip2", R"({"text": "<human>: Hi"})"), ContainsSubstring("the text holds no answer"));
    CHECK_THAT(refusal("chip2", R"({"text": ""})"), ContainsSubstring("but begins with \"\""));
}

TEST_CASE("a long dialogue is read in time proportional to its length", "[formats]") {
    std::string text = "### Human: A";
    for (int i = 0; i < 200'000; ++i) text += "### Assistant:B";  // a search of the rest for each would take minutes
    const FormattedRow row = FormatReader({"oasst1", 0}).apply({{"text", text}}, 0);
    CHECK(object_of(row)["output"].get<std::string>().size() == 2 * 200'000 - 1);
}

TEST_CASE("gsm8k's answers end in the number that is right", "[formats]") {
    const FormattedRow row = read("gsm8k", R"({"question": "1 + 1? ", "answer": "It is <<1+1=2>>2.\n#### 2"})");
    CHECK(object_of(row) == Json::parse(R"({"input": "1 + 1?\n", "output": "It is <<1+1=2>>2.\n#### 2"})"));
    CHECK(row.choices.empty());
    CHECK_THAT(refusal("gsm8k", R"({"question": "q", "answer": "it is 2"})"),
               ContainsSubstring("must end in #### and the number that is right, but ends in \"it is 2\""));
    CHECK_THAT(refusal("gsm8k", R"({"question": "q", "answer": "2 ####"})"), ContainsSubstring("must end in ####"));
    CHECK_THAT(refusal("gsm8k", R"({"question": " ", "answer": "#### 2"})"),
               ContainsSubstring("the field \"question\" is blank"));
}

TEST_CASE("a question shows its options behind their letters, and its answer is a letter", "[formats]") {
    const FormattedRow row = read("mmlu-pro", kMmluPro);
    CHECK(object_of(row) ==
          Json({{"input",
                 "Which fruit?\n\nA. brick\nB. plum\nC. rope\n\nWhich option is right? Answer with its letter.\n"},
                {"output", "B"}}));
    CHECK(row.choices.options == std::vector<std::string>{"brick", "plum", "rope"});
    CHECK(row.choices.right == 1);
    // A .csv file holds the list as text.
    CHECK(object_of(read("mmlu-pro", R"({"question": "Which fruit?", "options": "[\"brick\", \"plum\", \"rope\"]",
                                         "answer": "B", "answer_index": "1"})")) == object_of(row));

    const FormattedRow math = read("mathqa", kMathqa);
    CHECK(math.choices.options == std::vector<std::string>{"1", "2", "3.5", "none of these"});
    CHECK(object_of(math)["output"] == "C");
    CHECK(object_of(math).size() == 2);
    CHECK(read("mathqa", R"({"Problem": "p", "options": "['a ) 1 , 2', 'b ) (a)', 'c ) $ 5 ']", "correct": "b"})")
              .choices.options == std::vector<std::string>{"1 , 2", "(a)", "$ 5"});

    CHECK_THAT(refusal("mmlu-pro", R"({"question": "q", "options": ["x", "y"], "answer": "C"})"),
               ContainsSubstring("the field \"answer\" is \"C\", but must be the letter of one of 2 options"));
    CHECK_THAT(refusal("mmlu-pro", R"({"question": "q", "options": ["x", "y"], "answer": "A", "answer_index": 1})"),
               ContainsSubstring("they name different options"));
    CHECK_THAT(refusal("mmlu-pro", R"({"question": "q", "options": ["x"], "answer": "A"})"),
               ContainsSubstring("a question needs from 2 to 26 options, and here is 1"));
    CHECK_THAT(refusal("mmlu-pro", R"({"question": "q", "options": ["x", 2], "answer": "A"})"),
               ContainsSubstring("the field \"options\" is a list"));
    CHECK_THAT(refusal("mmlu-pro", R"({"question": "q", "options": "no json", "answer": "A"})"),
               ContainsSubstring("the field \"options\""));
    CHECK_THAT(refusal("mathqa", R"({"Problem": "p", "options": "1, 2", "correct": "b"})"),
               ContainsSubstring("must be of the kind \"a ) 38 , b ) 30\", but is \"1, 2\""));
    CHECK_THAT(refusal("mathqa", R"({"Problem": "p", "options": "a ) 1 , b ) 2", "correct": "e"})"),
               ContainsSubstring("the field \"correct\" is \"e\""));
}

TEST_CASE("gpqa's options stand in an order drawn from the seed and the row's place", "[formats]") {
    const auto row = [](uint64_t seed, int64_t index) { return read("gpqa", kGpqa, seed, index); };
    const std::set<std::string> all = {"plum", "brick", "rope", "sand"};
    std::map<size_t, int> places;
    for (int64_t index = 0; index < 400; ++index) {
        const FormattedRow drawn = row(7, index);
        CHECK(drawn.choices.options == row(7, index).choices.options);
        CHECK(std::set<std::string>(drawn.choices.options.begin(), drawn.choices.options.end()) == all);
        CHECK(drawn.choices.options[drawn.choices.right] == "plum");
        CHECK(object_of(drawn)["output"] == std::string(1, static_cast<char>('A' + drawn.choices.right)));
        ++places[drawn.choices.right];
    }
    // Five standard deviations of a binomial count of 400 and a quarter.
    for (size_t place = 0; place < 4; ++place) CHECK(std::abs(places[place] - 100) < 44);
    int moved = 0;
    for (int64_t index = 0; index < 100; ++index)
        moved += row(7, index).choices.options != row(8, index).choices.options;
    CHECK(moved > 80);  // 23 of 24 orders differ
    CHECK_THAT(object_of(row(7, 0))["input"].get<std::string>(), StartsWith("Which fruit?\n\nA. "));
    CHECK(object_of(row(7, 0)).size() == 2);
}

TEST_CASE("a format is recognised by columns that mean nothing else", "[formats]") {
    CHECK(recognised(kMmluPro) == "mmlu-pro");
    CHECK(recognised(kGpqa) == "gpqa");
    CHECK(recognised(kMathqa) == "mathqa");
    CHECK(recognised(R"({"input": "a", "output": "b", "source": "s", "subset": "t"})") == "longform");
    CHECK(recognised(R"({"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "c"})") == "hh-rlhf");
    for (const char* plain : {R"({"instruction": "a", "input": "", "output": "b"})",
                              R"({"instruction": "a", "input": "", "output": "b", "text": "c"})",
                              R"({"question": "a", "answer": "#### 1"})", R"({"prompt": "a", "completion": "b"})",
                              R"({"text": "<human>: a\n<bot>: b"})", R"({"text": "a", "domain": "b"})",
                              R"({"prompt": "p", "chosen": "a", "rejected": "b"})",
                              R"({"question": "q", "options": null, "answer": "A", "answer_index": 0})",
                              R"({"input": "a", "output": "b", "source": "s", "subset": "t", "id": 1})"}) {
        INFO(plain);
        CHECK(recognised(plain).empty());
        CHECK(object_of(read("auto", plain)) == Json::parse(plain));
    }
    CHECK(object_of(read("none", kMmluPro)) == Json::parse(kMmluPro));
}

TEST_CASE("rows without a format's columns are refused", "[formats]") {
    CHECK(refusal("gsm8k", R"({"question": "q", "reply": "r"})") ==
          "a row of the format gsm8k has the columns \"question\", \"answer\", but here is no \"answer\"; found "
          "\"question\", \"reply\"");
    CHECK_THAT(refusal("gpqa", R"({"Question": "q"})"),
               ContainsSubstring("but here is no \"Correct Answer\", \"Incorrect Answer 1\", "));
    CHECK_THAT(refusal("gsm8k", "{}"), ContainsSubstring("found none"));
    CHECK_THAT(refusal("gsm8k", R"({"question": null, "answer": "#### 1"})"), ContainsSubstring("no \"question\""));
    CHECK_THAT(refusal("gsm8k", R"({"question": 5, "answer": "#### 1"})"),
               ContainsSubstring("the field \"question\" is 5, but the format gsm8k has a string there"));
    CHECK_THAT(refusal("nothing", "{}"), ContainsSubstring("there is no data format \"nothing\""));
    CHECK_THAT(test::error_of([] {
                   FormatReader({"wikitext2", 0}).apply({{"text", "a"}, {"text", "b"}}, 0);
               }),
               ContainsSubstring("the field \"text\" appears twice"));

    // The first row of a file decides, and the others say why they are expected to follow.
    FormatReader reader({});
    reader.apply(row_of(kMmluPro), 0);
    CHECK_THAT(test::error_of([&] { reader.apply(row_of(R"({"question": "q", "answer": "A"})"), 1); }),
               ContainsSubstring("no \"options\"; found \"question\", \"answer\" (the columns of the file's first row "
                                 "are those of the format mmlu-pro)"));
}

TEST_CASE("the table of formats has a row for each, with a metric", "[formats]") {
    std::set<std::string> names;
    for (const DataFormat& format : data_formats()) {
        names.insert(format.name);
        CHECK(!format.metrics.empty());
        CHECK(!format.columns.empty());
    }
    CHECK(names == std::set<std::string>{"alpaca", "alpaca-clean", "finance-alpaca", "chip2", "self-instruct",
                                         "hh-rlhf", "longform", "oasst1", "wikitext2", "lambada", "gsm8k", "mmlu-pro",
                                         "gpqa", "mathqa"});
}
