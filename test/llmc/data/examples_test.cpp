#include "llmc/data/examples.h"

#include <omp.h>

#include <algorithm>
#include <utility>

#include "llmc/core/error.h"
#include "test/catch.h"
#include "test/llmc/data/temp_file.h"

using namespace llmc;
using Ints = std::vector<int32_t>;

namespace {

constexpr int32_t kBos = 1, kEos = 2;

// One token per byte; "<s>" and "</s>" in the text are the special tokens.
Ints encode_bytes(std::string_view text) {
    Ints ids;
    while (!text.empty()) {
        if (text.starts_with("<s>")) {
            ids.push_back(kBos);
            text.remove_prefix(3);
        } else if (text.starts_with("</s>")) {
            ids.push_back(kEos);
            text.remove_prefix(4);
        } else {
            ids.push_back(static_cast<unsigned char>(text.front()));
            text.remove_prefix(1);
        }
    }
    return ids;
}

const TextEncoding kLlama = {encode_bytes, kBos, kEos, true};
const TextEncoding kPlain = {encode_bytes, kBos, kEos, false};

Dataset read(const std::string& content, const TextEncoding& encoding = kLlama, const ExampleOptions& options = {},
             const std::string& name = "a.jsonl") {
    const TempFile file(name, content);
    return read_examples(file.path(), encoding, options);
}

Example only(const Dataset& data) {
    REQUIRE(data.size() == 1);
    return data.examples[0];
}

std::string error_of(const std::string& content, const TextEncoding& encoding = kLlama,
                     const ExampleOptions& options = {}) {
    const TempFile file("a.jsonl", content);
    return test::error_of(file.directory(), [&] { read_examples(file.path(), encoding, options); });
}

}  // namespace

TEST_CASE("a pair is BOS, source, target, EOS, with loss on target and EOS", "[data][examples]") {
    const Example example = only(read(R"({"input": "ab", "output": "cd"})"));
    CHECK(example.input_ids == Ints{kBos, 'a', 'b', 'c', 'd', kEos});
    CHECK(example.labels == Ints{-100, -100, -100, 'c', 'd', kEos});
    CHECK(count_labelled(example) == 3);
}

TEST_CASE("train_on_source adds the source to the loss, but not the first token", "[data][examples]") {
    ExampleOptions options;
    options.train_on_source = true;
    const std::string row = R"({"input": "ab", "output": "cd"})";
    CHECK(only(read(row, kLlama, options)).labels == Ints{-100, 'a', 'b', 'c', 'd', kEos});
    CHECK(only(read(row, kPlain, options)).labels == Ints{-100, 'b', 'c', 'd', kEos});
}

TEST_CASE("BOS comes from the tokenizer or from the text, never from both", "[data][examples]") {
    CHECK(only(read(R"({"input": "<s>ab", "output": "c"})")).input_ids == Ints{kBos, 'a', 'b', 'c', kEos});
    CHECK(only(read(R"({"input": "ab", "output": "c"})", kPlain)).input_ids == Ints{'a', 'b', 'c', kEos});
    CHECK(only(read(R"({"input": "", "output": "<s>c"})")).input_ids == Ints{kBos, 'c', kEos});
    CHECK(only(read(R"({"input": "", "output": "<s>c"})")).labels == Ints{-100, 'c', kEos});
    CHECK(only(read(R"({"text": "<s>c"})")).input_ids == Ints{kBos, 'c', kEos});
    CHECK(only(read(R"({"input": "a", "output": "<s>c"})")).input_ids == Ints{kBos, 'a', kBos, 'c', kEos});
    // A tokenizer that claims to add one but has none.
    CHECK(only(read(R"({"text": "ab"})", {encode_bytes, -1, kEos, true})).input_ids == Ints{'a', 'b', kEos});
}

TEST_CASE("EOS is appended once", "[data][examples]") {
    CHECK(only(read(R"({"input": "a", "output": "c</s>"})")).input_ids == Ints{kBos, 'a', 'c', kEos});
    CHECK(only(read(R"({"text": "c</s>"})")).input_ids == Ints{kBos, 'c', kEos});
    // A source that ends in EOS says nothing about the target.
    CHECK(only(read(R"({"input": "a</s>", "output": ""})")).input_ids == Ints{kBos, 'a', kEos, kEos});
    // An answer that never ends would teach the model never to stop.
    CHECK_THROWS_WITH(read(R"({"input": "a", "output": "c"})", {encode_bytes, kBos, -1, true}),
                      Catch::Matchers::ContainsSubstring("end-of-sequence"));
}

TEST_CASE("an empty source is fine", "[data][examples]") {
    CHECK(only(read(R"({"input": "", "output": "cd"})")).labels == Ints{-100, 'c', 'd', kEos});
    // Without BOS nothing predicts the first token of the target.
    const Example example = only(read(R"({"input": "", "output": "cd"})", kPlain));
    CHECK(example.input_ids == Ints{'c', 'd', kEos});
    CHECK(example.labels == Ints{-100, 'd', kEos});
}

TEST_CASE("source and target are encoded apart", "[data][examples]") {
    // An encoder that shows how often it was called: every call starts with a 77, like a Metaspace tokenizer's prefix.
    const TextEncoding prefixing = {[](std::string_view text) {
                                        Ints ids = encode_bytes(text);
                                        ids.insert(ids.begin(), 77);
                                        return ids;
                                    },
                                    kBos, kEos, true};
    CHECK(only(read(R"({"input": "a", "output": "c"})", prefixing)).input_ids == Ints{kBos, 77, 'a', 77, 'c', kEos});
    CHECK(only(read(R"({"text": "ac"})", prefixing)).input_ids == Ints{kBos, 77, 'a', 'c', kEos});
}

TEST_CASE("text is all in the loss but BOS", "[data][examples]") {
    CHECK(only(read(R"({"text": "ab"})")).labels == Ints{-100, 'a', 'b', kEos});
}

TEST_CASE("token rows are taken as they are, without a tokenizer", "[data][examples]") {
    const Example example = only(read(R"({"input_ids": [5, 6, 7], "labels": [5, -100, 9]})", {}));
    CHECK(example.input_ids == Ints{5, 6, 7});
    CHECK(example.labels == Ints{5, -100, 9});
    CHECK(count_labelled(example) == 1);
    CHECK(only(read(R"({"input_ids": [5, 6, 7]})", {})).labels == Ints{5, 6, 7});
    for (const char* row : {R"({"text": "a"})", R"({"input": "a", "output": "b"})"})
        CHECK(error_of(row, {}) ==
              "a.jsonl:1: it holds text, but the model's folder has no tokenizer; add its "
              "tokenizer.json or give input_ids");
}

TEST_CASE("the raw texts are kept beside the examples", "[data][examples]") {
    const Dataset data = read("{\"prompt\": \"a\", \"completion\": \"b\"}\n{\"text\": \"t\"}\n{\"input_ids\": [1, 2]}");
    REQUIRE(data.texts.size() == 3);
    CHECK(data.texts[0].source == "a");
    CHECK(data.texts[0].target == "b");
    CHECK(data.texts[1].target == "t");
    CHECK(data.texts[2].target == "");
}

TEST_CASE("lengths: source with BOS, target with EOS, tokens and text by the sum", "[data][examples]") {
    ExampleOptions options;
    options.source_max_len = 3;
    options.target_max_len = 2;
    const auto fate = [&](const std::string& row, const TextEncoding& encoding = kLlama) {
        const Dataset data = read(row + "\n{\"text\": \"x\"}", encoding, options);
        CHECK(data.size() + data.dropped.total() == 2);
        return data.dropped.total() == 0 ? "kept" : data.dropped.describe();
    };
    CHECK(fate(R"({"input": "ab", "output": "c"})") == "kept");
    CHECK(fate(R"({"input": "abc", "output": "c"})") == "1 with a source over --source-max-len");
    CHECK(fate(R"({"input": "abc", "output": "c"})", kPlain) == "kept");
    CHECK(fate(R"({"input": "ab", "output": "cd"})") == "1 with a target over --target-max-len");
    CHECK(fate(R"({"input": "ab", "output": "c</s>"})") == "kept");
    CHECK(fate(R"({"text": "abc"})") == "kept");
    CHECK(fate(R"({"text": "abcd"})") == "1 longer than --source-max-len and --target-max-len together");
    CHECK(fate(R"({"input_ids": [1, 2, 3, 4, 5]})") == "kept");
    CHECK(fate(R"({"input_ids": [1, 2, 3, 4, 5, 6]})") ==
          "1 longer than --source-max-len and --target-max-len together");
    CHECK(Dropped{}.describe() == "none");
}

namespace {

// [system]<user>answer</s>.., answers and their ends in the loss; an answer "?" is refused.
EncodedConversation in_brackets(const Conversation& conversation) {
    EncodedConversation encoded;
    const auto add = [&](const std::string& text, bool in_loss) {
        for (const int32_t id : encode_bytes(text)) {
            encoded.ids.push_back(id);
            encoded.in_loss.push_back(in_loss);
        }
    };
    for (const Json& message : conversation.messages) {
        const std::string role = message["role"], content = message["content"];
        require(content != "?", "no answer");
        if (role == "system") add("[" + content + "]", false);
        if (role == "user") add("<" + content + ">", false);
        if (role == "assistant") add(content + "</s>", true);
        encoded.empty_answers += role == "assistant" && content.empty();
    }
    if (!conversation.tools.is_null()) encoded.unheard.emplace_back("tools");
    return encoded;
}

const std::string kChat =
    R"({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"},)"
    R"( {"role": "assistant", "content": "a"}, {"role": "user", "content": "v"}, {"role": "assistant", "content": "b"}]})";

Dataset read_chat(const std::string& content, const ExampleOptions& options = {},
                  const TextEncoding& encoding = kLlama) {
    const TempFile file("a.jsonl", content);
    return read_examples(file.path(), encoding, options, in_brackets);
}

}  // namespace

TEST_CASE("the loss of a conversation is its encoder's, or all of it", "[data][examples]") {
    const Ints ids = {'[', 's', ']', '<', 'u', '>', 'a', kEos, '<', 'v', '>', 'b', kEos};
    const Example example = only(read_chat(kChat));
    CHECK(example.input_ids == ids);
    CHECK(example.labels == Ints{-100, -100, -100, -100, -100, -100, 'a', kEos, -100, -100, -100, 'b', kEos});
    ExampleOptions options;
    options.train_on_source = true;
    const Example all = only(read_chat(kChat, options));
    CHECK(all.input_ids == ids);
    CHECK(std::equal(all.labels.begin() + 1, all.labels.end(), ids.begin() + 1));
    CHECK(all.labels[0] == -100);
}

TEST_CASE("a mark that keeps an answer out of the loss does not give way to train_on_source", "[data][examples]") {
    const std::string row = R"({"messages": [{"role": "user", "content": "u"},
        {"role": "assistant", "content": "a", "weight": 0}, {"role": "user", "content": "v"},
        {"role": "assistant", "content": "b"}]})";
    std::string line = row;
    std::erase(line, '\n');
    ExampleOptions options;
    options.train_on_source = true;
    const TempFile file("a.jsonl", line);
    const std::string problem =
        test::error_of(file.directory(), [&] { read_examples(file.path(), kLlama, options, in_brackets); });
    CHECK(problem.find("a.jsonl:1: a message is marked to carry no loss") != problem.npos);
}

TEST_CASE("with a template, a pair is a conversation of a user and an assistant", "[data][examples]") {
    const std::string row = R"({"system": "s", "input": "u", "output": "ab"})";
    const Dataset data = read_chat(row + "\n" + R"({"text": "t"})");
    REQUIRE(data.size() == 2);
    CHECK(data.examples[0].input_ids == Ints{'[', 's', ']', '<', 'u', '>', 'a', 'b', kEos});
    CHECK(data.examples[0].labels == Ints{-100, -100, -100, -100, -100, -100, 'a', 'b', kEos});
    CHECK(data.examples[1].input_ids == Ints{kBos, 't', kEos});
    CHECK(data.texts[0].source == "u");
    CHECK(data.texts[0].target == "ab");
    CHECK(data.layout.pairs == 1);
    CHECK(data.layout.plain == 0);
    CHECK(read(row).layout.plain == 1);

    const auto dropped = [&](int64_t source_max_len, int64_t target_max_len) {
        ExampleOptions options;
        options.source_max_len = source_max_len;
        options.target_max_len = target_max_len;
        return read_chat(row + "\n" + R"({"text": "t"})", options).dropped.describe();
    };
    CHECK(dropped(6, 3) == "none");
    CHECK(dropped(5, 3) == "1 with a source over --source-max-len");
    CHECK(dropped(6, 2) == "1 with a target over --target-max-len");
}

TEST_CASE("conversations: lengths, texts, and where there is no template", "[data][examples]") {
    ExampleOptions options;
    options.source_max_len = 8;
    options.target_max_len = 5;  // 13 tokens together
    CHECK(read_chat(kChat, options).size() == 1);
    options.target_max_len = 4;
    const std::string short_one =
        R"({"conversations": [{"from": "human", "value": "u"}, {"from": "gpt", "value": "a"}]})";
    const Dataset data = read_chat(kChat + "\n" + short_one, options);
    CHECK(data.dropped.too_long == 1);
    CHECK(data.layout.conversations == 1);
    REQUIRE(data.texts.size() == 1);
    CHECK(data.texts[0].source == "u");
    CHECK(data.texts[0].target == "a");
    CHECK(read_chat(kChat).texts[0].source.empty());
    options.no_template = "There is none.";
    CHECK(error_of(kChat, kLlama, options) == "a.jsonl:1: a conversation needs a chat template. There is none.");
    CHECK(error_of(kChat, {}).find("the model's folder has no tokenizer") != std::string::npos);
}

TEST_CASE("what is odd about examples is counted", "[data][examples]") {
    const auto row = [](const char* answer, const char* more = "") {
        return std::string(R"({"messages": [{"role": "user", "content": "u"}, {"role": "assistant", "content": ")") +
               answer + "\"}]" + more + "}\n";
    };
    const std::string tools = R"(, "tools": [{"name": "f"}])";
    const Dataset data = read_chat(row("") + row("a") + row("b", tools.c_str()) + row("", tools.c_str()));
    CHECK(data.layout.empty_answers == 2);
    CHECK(data.layout.unheard == std::map<std::string, int64_t>{{"tools", 2}});
    CHECK(data.layout.only_special == 0);
    CHECK(read(R"({"input": "i", "output": ""})").layout.empty_answers == 1);
    TextEncoding marks = kLlama;
    marks.is_special = [](int32_t id) { return id == kBos || id == kEos; };
    CHECK(read("{\"input\": \"\", \"output\": \"\"}\n{\"text\": \"\"}\n{\"text\": \"a\"}", marks).layout.only_special ==
          2);

    const TempFile file("a.jsonl", row("a") + row("?"));
    CHECK(test::error_of(file.directory(), [&] { read_examples(file.path(), kLlama, {}, in_brackets); }) ==
          "a.jsonl:2: no answer");
}

TEST_CASE("examples with nothing to learn are dropped and counted", "[data][examples]") {
    const Dataset data = read(
        "{\"input_ids\": [1, 2], \"labels\": [1, -100]}\n{\"input_ids\": []}\n{\"input_ids\": [4]}\n"
        "{\"input_ids\": [1, 2], \"labels\": [-100, 2]}");
    CHECK(data.dropped.nothing_labelled == 3);
    CHECK(data.dropped.total() == 3);
    CHECK(only(data).index == 3);
    // Without BOS an empty text is its EOS alone, which nothing predicts.
    const TextEncoding bare = {encode_bytes, -1, kEos, false};
    CHECK(read("{\"text\": \"\"}\n{\"input\": \"\", \"output\": \"\"}\n{\"text\": \"ab\"}", bare)
              .dropped.nothing_labelled == 2);
}

TEST_CASE("a file of which nothing is left is an error that says why", "[data][examples]") {
    CHECK(
        error_of("{\"input_ids\": [1, 2], \"labels\": [-100, -100]}\n{\"input_ids\": [1], \"labels\": [1]}") ==
        "a.jsonl: nothing is labelled in the whole file; the loss needs a target, or labels other than -100 behind the "
        "first position, and no mark (weight, train, ...) or choice of answers that takes all of it out");
    ExampleOptions options;
    options.source_max_len = options.target_max_len = 1;
    CHECK(error_of("{\"text\": \"ab\"}\n{\"input\": \"a\", \"output\": \"\"}", kLlama, options) ==
          "a.jsonl: no example is left; dropped: 1 with a source over --source-max-len, 1 longer than --source-max-len "
          "and --target-max-len together. Raise --source-max-len (1) or --target-max-len (1)");
}

TEST_CASE("what the model cannot take is an error, or skipped", "[data][examples]") {
    const std::string rows = "{\"input_ids\": [1, 2]}\n{\"input_ids\": [1, 2, 3, 4, 5]}\n{\"text\": \"z\"}\nnonsense";
    ExampleOptions options;
    options.max_positions = 4;
    const std::string first_two = rows.substr(0, rows.find("{\"text"));
    CHECK(error_of(first_two, kLlama, options) ==
          "a.jsonl:2: the example has 5 tokens, but the model has 4 positions; lower --source-max-len or "
          "--target-max-len to drop examples of this length");
    options.vocab_size = 100;
    options.max_positions = 0;
    CHECK(
        error_of("{\"text\": \"z\"}", kLlama, options) ==
        "a.jsonl:1: the tokenizer makes token 122, but the model's embedding has 100 rows; tokenizer and model do not "
        "belong together");
    options.max_positions = 4;
    options.strict = false;
    const Dataset data = read(rows, kLlama, options);
    CHECK(data.size() == 1);
    CHECK(data.skipped.count == 3);
    CHECK(data.skipped.reasons.size() == 3);
    // Dropping by length comes first, so the advice of the message works.
    options.strict = true;
    options.source_max_len = options.target_max_len = 2;
    CHECK(read(first_two, kLlama, options).dropped.too_long == 1);
}

TEST_CASE("every skipped record is counted, also those that are not listed", "[data][examples]") {
    std::string rows = "{\"input_ids\": [1, 2]}\n";
    for (int i = 0; i < 30; ++i) rows += "nonsense\n";
    for (int i = 0; i < 30; ++i) rows += "{\"input_ids\": [1, 2, 3]}\n";
    ExampleOptions options;
    options.max_positions = 2;
    options.strict = false;
    const Dataset data = read(rows, kLlama, options);
    CHECK(data.skipped.count == 60);
    CHECK(data.skipped.reasons.size() == SkippedRecords::kMostListed);
    CHECK(error_of(rows.substr(rows.find("nonsense")), kLlama, options)
              .find("a.jsonl: none of its records can be used; the first: a.jsonl:") == 0);
}

TEST_CASE("an encoder's own exception is not taken for a bad record", "[data][examples]") {
    const TextEncoding broken = {[](std::string_view) -> Ints { throw std::bad_alloc(); }, kBos, kEos, true};
    ExampleOptions options;
    options.strict = false;
    const TempFile file("a.jsonl", "{\"text\": \"a\"}");
    CHECK_THROWS_AS(read_examples(file.path(), broken, options), std::bad_alloc);
}

TEST_CASE("examples come in the order of the file whatever the number of threads", "[data][examples]") {
    // More records than a chunk holds.
    std::string rows;
    for (int i = 0; i < 10000; ++i)
        rows += "{\"prompt\": \"" + std::to_string(i) + "\", \"completion\": \"" + std::string(i % 50, 'x') + "\"}\n";
    const int n_threads = omp_get_max_threads();
    omp_set_num_threads(1);
    const Dataset one = read(rows);
    omp_set_num_threads(4);
    const Dataset four = read(rows);
    omp_set_num_threads(n_threads);
    REQUIRE(one.size() == 10000);
    REQUIRE(four.size() == 10000);
    bool same = true;
    for (int64_t i = 0; i < 10000; ++i) {
        same = same && one.examples[i].index == i && one.texts[i].source == std::to_string(i) &&
               one.examples[i].input_ids == four.examples[i].input_ids &&
               one.examples[i].labels == four.examples[i].labels;
    }
    CHECK(same);
    CHECK(one.examples[9999].input_ids[1] == '9');
}

TEST_CASE("a prompt is how an example of its source begins", "[data][examples]") {
    CHECK(encode_prompt(kLlama, "ab") == Ints{kBos, 'a', 'b'});
    CHECK(encode_prompt(kLlama, "<s>ab") == Ints{kBos, 'a', 'b'});
    CHECK(encode_prompt(kLlama, "") == Ints{kBos});
    CHECK(encode_prompt(kPlain, "ab") == Ints{'a', 'b'});
}

TEST_CASE("a data set is split with its texts", "[data][split]") {
    std::string rows = "{\"input_ids\": [1]}\nnonsense\n";
    for (int i = 0; i < 20; ++i) rows += "{\"input\": \"" + std::string(1, 'a' + i) + "\", \"output\": \"x\"}\n";
    ExampleOptions options;
    options.strict = false;
    const auto [train, eval] = split(read(rows, kLlama, options), 0.25, 0);
    CHECK(train.size() == 15);
    CHECK(eval.size() == 5);
    CHECK(train.dropped.nothing_labelled == 1);
    CHECK(train.skipped.count == 1);
    CHECK(eval.dropped.total() == 0);
    std::string seen;
    for (const Dataset* part : {&train, &eval}) {
        REQUIRE(part->texts.size() == part->examples.size());
        for (int64_t i = 0; i < part->size(); ++i) {
            CHECK(part->texts[i].source[0] == part->examples[i].input_ids[1]);
            seen += part->texts[i].source;
        }
    }
    std::sort(seen.begin(), seen.end());
    CHECK(seen == "abcdefghijklmnopqrst");
}
