// What the files may not hold: every refusal names the file and the thing, and none is a crash.
#include <chrono>
#include <random>
#include <thread>

#include "llmc/error.h"
#include "llmc/file_io.h"
#include "llmc/tokenizer/tokenizer.h"
#include "test/catch.h"
#include "test/llmc/tokenizer/model_directory.h"

using namespace llmc;
using Catch::Matchers::Contains;
using nlohmann::json;

namespace {

json added_token(int id, const std::string& content) {
    return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
            {"rstrip", false}, {"normalized", false}, {"special", true}};
}

json special_piece(const std::string& name) {
    return {{"SpecialToken", {{"id", name}, {"type_id", 0}}}};
}

const json kSequencePiece = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};

json template_processing(const json& single) {
    const json tokens = {{"<s>", {{"id", "<s>"}, {"ids", {5}}, {"tokens", {"<s>"}}}},
                         {"</s>", {{"id", "</s>"}, {"ids", {6}}, {"tokens", {"</s>"}}}}};
    return {{"type", "TemplateProcessing"}, {"single", single}, {"pair", json::array()}, {"special_tokens", tokens}};
}

// a b c, merged to ab and abc; <s> is 5, </s> 6.
json small_tokenizer() {
    return {{"version", "1.0"},
            {"added_tokens", {added_token(5, "<s>"), added_token(6, "</s>")}},
            {"normalizer", nullptr},
            {"pre_tokenizer", nullptr},
            {"post_processor", nullptr},
            {"decoder", {{"type", "Fuse"}}},
            {"model",
             {{"type", "BPE"},
              {"vocab", {{"a", 0}, {"b", 1}, {"c", 2}, {"ab", 3}, {"abc", 4}}},
              {"merges", {"a b", "ab c"}}}}};
}

json split(const std::string& regex) {
    return {{"type", "Split"}, {"pattern", {{"Regex", regex}}}, {"behavior", "Isolated"}, {"invert", false}};
}

}  // namespace

TEST_CASE("a small tokenizer loads as it is", "[tokenizer]") {
    ModelDirectory model;
    model.write("tokenizer.json", small_tokenizer());
    const auto tokenizer = Tokenizer::load(model.path());
    CHECK(tokenizer->encode("abcabba<s>c") == std::vector<int32_t>{4, 3, 1, 0, 5, 2});
    CHECK(tokenizer->encode("axb") == std::vector<int32_t>{3});  // no unknown token: x leaves nothing, as in HF
    CHECK(tokenizer->vocab_size() == 7);
    CHECK(tokenizer->token_text(4) == "abc");
    CHECK(tokenizer->token_text(6) == "</s>");
    CHECK(tokenizer->token_text(7) == "");
    CHECK(tokenizer->token_id("ab") == 3);
    CHECK(tokenizer->token_id("</s>") == 6);
    CHECK(!tokenizer->token_id("x"));
    CHECK(tokenizer->is_special(5));
    CHECK(!tokenizer->is_special(4));
    CHECK(!tokenizer->is_special(-1));
    CHECK(!tokenizer->bos_id());
    CHECK(!tokenizer->adds_bos());
    // Ids that the embedding table has and the tokenizer has not.
    CHECK(tokenizer->decode(std::vector<int32_t>{4, 7, -1, 1 << 30, 5}, false) == "abc<s>");
}

TEST_CASE("what is not supported in tokenizer.json is refused by name", "[tokenizer]") {
    struct Case {
        const char* where;  // JSON pointer
        json value;
        const char* message;
    };
    const json sequence_of_nfc = {{"type", "Sequence"}, {"normalizers", {{{"type", "NFC"}}}}};
    const json two_tokens = {special_piece("<s>"), special_piece("</s>"), kSequencePiece};
    const std::vector<Case> cases = {
        {"/version", "2.0", "version"},
        {"/model", nullptr, "model"},
        {"/model/type", "Unigram", "Unigram"},
        {"/model/type", "WordPiece", "WordPiece"},
        {"/model/dropout", 0.1, "dropout"},
        {"/model/continuing_subword_prefix", "##", "continuing_subword_prefix"},
        {"/model/end_of_word_suffix", "</w>", "</w>"},
        {"/model/unk_token", "<unk>", "unk_token"},
        {"/model/vocab", json::object(), "empty"},
        {"/model/vocab", json::array(), "vocab"},
        {"/model/vocab/a", -1, "-1"},
        {"/model/vocab/a", 1.5, "1.5"},
        {"/model/vocab/a", "x", "\"x\""},
        {"/model/vocab/a", 1LL << 40, "1099511627776"},
        {"/model/vocab/a", 1, "to two tokens"},
        {"/model/merges", nullptr, "merges"},
        {"/model/merges", "a b", "a list"},
        {"/model/merges/0", "a", "two tokens"},
        {"/model/merges/0", "a b c", "two tokens"},
        {"/model/merges/0", {"a"}, "two tokens"},
        {"/model/merges/1", {"a", 1}, "entry 1"},
        {"/model/merges/0", "a x", "\"x\", which is not in the vocabulary"},
        {"/model/merges/1", "b c", "\"bc\", which is not in the vocabulary"},
        {"/normalizer", {{"type", "NFC"}}, "NFC"},
        {"/normalizer", sequence_of_nfc, "NFC"},
        {"/normalizer", {{"type", "Replace"}, {"pattern", {{"String", ""}}}, {"content", "x"}}, "empty"},
        {"/pre_tokenizer", {{"type", "BertPreTokenizer"}}, "BertPreTokenizer"},
        {"/pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", {{{"type", "Punctuation"}}}}}, "Punctuation"},
        {"/pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", "Digits"}}, "a list"},
        {"/pre_tokenizer", split("(a"), "not valid"},
        {"/pre_tokenizer", split("\\w+"), "\\w"},
        {"/pre_tokenizer", split("^a"), "anchor ^"},
        {"/pre_tokenizer", split("[a[b]]"), "set inside a set"},
        {"/pre_tokenizer", split("[a&&b]"), "&&"},
        {"/pre_tokenizer", split("(?m:a)"), "(?m"},
        {"/pre_tokenizer", split("(?<name>a)"), "(?<"},
        {"/pre_tokenizer", split("a{,3}"), "{,n}"},
        {"/pre_tokenizer", split("\\"), "\\"},
        {"/pre_tokenizer", split("\\pL"), "without"},
        {"/pre_tokenizer",
         {{"type", "Split"}, {"pattern", {{"Glob", "*"}}}, {"behavior", "Isolated"}, {"invert", false}},
         "Regex"},
        {"/pre_tokenizer",
         {{"type", "Split"}, {"pattern", {{"String", "a"}}}, {"behavior", "Sometimes"}, {"invert", false}},
         "Sometimes"},
        {"/pre_tokenizer", {{"type", "Metaspace"}, {"replacement", "__"}}, "one character"},
        {"/pre_tokenizer", {{"type", "Metaspace"}, {"replacement", "_"}, {"prepend_scheme", "last"}}, "last"},
        {"/post_processor", {{"type", "RobertaProcessing"}}, "RobertaProcessing"},
        {"/post_processor", template_processing(two_tokens), "at most one token"},
        {"/post_processor", template_processing(json::array({special_piece("<s>")})), "sequence A once"},
        {"/post_processor", template_processing({special_piece("<x>"), kSequencePiece}), "<x>"},
        {"/decoder", {{"type", "WordPiece"}}, "WordPiece"},
        {"/decoder", {{"type", "Strip"}, {"content", " "}, {"start", 0}, {"stop", 1}}, "stop"},
        {"/added_tokens", 3, "added_tokens"},
        {"/added_tokens/0/id", 7, "would give it 5"},
        {"/added_tokens/0/content", 7, "content"},
        {"/added_tokens/0", "<s>", "\"<s>\""},
    };
    ModelDirectory model;
    for (const Case& refused : cases) {
        json tokenizer = small_tokenizer();
        tokenizer[json::json_pointer(refused.where)] = refused.value;
        model.write("tokenizer.json", tokenizer);
        INFO(refused.where << " = " << refused.value);
        CHECK_THROWS_AS(Tokenizer::load(model.path()), Error);
        CHECK_THROWS_WITH(Tokenizer::load(model.path()), Contains("tokenizer.json") && Contains(refused.message));
    }
}

TEST_CASE("a regular expression that runs away is an error", "[tokenizer]") {
    json tokenizer = small_tokenizer();
    tokenizer["pre_tokenizer"] = split("(?:a+)+c");
    ModelDirectory model;
    model.write("tokenizer.json", tokenizer);
    // 2^60 ways to cut the run, and none of them ends in c: PCRE2's limit ends the search.
    CHECK_THROWS_WITH(Tokenizer::load(model.path())->encode(std::string(60, 'a') + "bc"),
                      Contains("regular expression gave up") && Contains("limit"));
}

TEST_CASE("the configuration says which tokens begin and end a text", "[tokenizer]") {
    ModelDirectory model;
    json tokenizer = small_tokenizer();
    tokenizer["post_processor"] = template_processing({special_piece("<s>"), kSequencePiece});
    model.write("tokenizer.json", tokenizer);
    CHECK(Tokenizer::load(model.path())->adds_bos());
    CHECK(Tokenizer::load(model.path())->bos_id() == 5);
    CHECK(!Tokenizer::load(model.path())->eos_id());

    model.write("special_tokens_map.json", {{"eos_token", "</s>"}});
    CHECK(Tokenizer::load(model.path())->eos_id() == 6);

    model.write("tokenizer_config.json", {{"bos_token", {{"content", "<s>"}}}, {"eos_token", "abc"}});
    auto loaded = Tokenizer::load(model.path());
    CHECK(loaded->adds_bos());
    CHECK(!loaded->adds_eos());
    CHECK(loaded->eos_id() == 4);
    CHECK(loaded->is_special(4));  // a token that is named is special, and found before the model looks
    CHECK(loaded->encode("ababc") == std::vector<int32_t>{3, 4});

    model.write("tokenizer_config.json", {{"add_bos_token", false}, {"add_eos_token", true}});
    loaded = Tokenizer::load(model.path());
    CHECK(loaded->adds_bos());  // the post-processor decides, as in transformers 5
    CHECK(!loaded->adds_eos());

    model.write("tokenizer_config.json", {{"bos_token", "</s>"}});
    CHECK_THROWS_WITH(Tokenizer::load(model.path()), Contains("bos_token") && Contains("post_processor"));
    model.write("tokenizer_config.json", {{"eos_token", "<eos>"}});
    CHECK_THROWS_WITH(Tokenizer::load(model.path()), Contains("eos_token") && Contains("<eos>"));
    model.write("tokenizer_config.json", {{"eos_token", 2}});
    CHECK_THROWS_WITH(Tokenizer::load(model.path()), Contains("eos_token"));

    // added_tokens_decoder changes a token of tokenizer.json and adds one behind the last.
    json end = added_token(0, "</s>"), more = added_token(0, "<more>");
    end["lstrip"] = true;
    model.write("tokenizer_config.json", {{"added_tokens_decoder", {{"7", more}, {"6", end}}}});
    loaded = Tokenizer::load(model.path());
    CHECK(loaded->vocab_size() == 8);
    CHECK(loaded->encode("a  </s><more>") == std::vector<int32_t>{0, 6, 7});
    model.write("tokenizer_config.json", {{"added_tokens_decoder", {{"8", more}}}});
    CHECK_THROWS_WITH(Tokenizer::load(model.path()), Contains("tokenizer_config.json") && Contains("would give it 7"));
    model.write("tokenizer_config.json", {{"added_tokens_decoder", {{"x", more}}}});
    CHECK_THROWS_WITH(Tokenizer::load(model.path()), Contains("token ids as its keys"));
}

TEST_CASE("a directory without a tokenizer says what is missing", "[tokenizer]") {
    ModelDirectory model;
    CHECK_THROWS_WITH(Tokenizer::load(model.path()), Contains("neither tokenizer.json nor tokenizer.model"));
}

TEST_CASE("text that is not UTF-8 is refused", "[tokenizer]") {
    ModelDirectory model;
    model.write("tokenizer.json", small_tokenizer());
    const auto tokenizer = Tokenizer::load(model.path());
    for (const char* bad : {"ab\xFF", "ab\xC0\x80", "ab\xED\xA0\x80", "ab\xF4\x90\x80\x80", "ab\xE2\x82", "ab\x80"}) {
        CHECK_THROWS_WITH(tokenizer->encode(bad), Contains("not UTF-8: byte 2 "));
    }
}

TEST_CASE("damaged tokenizer files are errors, not crashes", "[tokenizer]") {
    std::mt19937 random(1);
    for (const char* name : {"llama3/tokenizer.json", "phi3/tokenizer.json"}) {
        const std::string bytes = read_file(std::filesystem::path("test/data/tokenizer") / name);
        ModelDirectory model;
        for (int i = 0; i < 12; ++i) {
            model.write_bytes("tokenizer.json", bytes.substr(0, random() % (bytes.size() - 2)));
            CHECK_THROWS_AS(Tokenizer::load(model.path()), Error);
        }
        for (int i = 0; i < 60; ++i) {
            std::string damaged = bytes;
            for (int j = 0; j < 3; ++j) damaged[random() % damaged.size()] = static_cast<char>(random() % 128);
            model.write_bytes("tokenizer.json", damaged);
            try {
                const auto tokenizer = Tokenizer::load(model.path());
                tokenizer->decode(tokenizer->encode("Hello <s> world 123 \xE4\xBD\xA0"), true);
            } catch (const Error& error) {
                CHECK_THAT(error.what(), Contains("tokenizer.json"));
            }
        }
    }
    const std::string bytes = read_file("test/data/tokenizer/sentencepiece/tokenizer.model");
    ModelDirectory model;
    for (const size_t length : {size_t{0}, size_t{1}, size_t{100}, bytes.size() / 2}) {
        model.write_bytes("tokenizer.model", bytes.substr(0, length));
        CHECK_THROWS_WITH(Tokenizer::load(model.path()), Contains("tokenizer.model"));
    }
    model.write_bytes("tokenizer.model", "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 499723\n");
    CHECK_THROWS_WITH(Tokenizer::load(model.path()), Contains("not a SentencePiece model"));
}

TEST_CASE("a long text without spaces takes time in proportion", "[tokenizer]") {
    // Merging by scanning for the best pair would take 10^10 steps here: minutes.
    for (const char* name : {"llama2", "llama3", "sentencepiece"}) {
        const auto tokenizer = Tokenizer::load(std::filesystem::path("test/data/tokenizer") / name);
        std::string text;
        while (text.size() < 200'000) text += "thequickbrownfox";
        CHECK(tokenizer->decode(tokenizer->encode(text), false) == text);
        const std::string spaces(200'000, ' ');
        CHECK(!tokenizer->encode(spaces).empty());
    }
}

TEST_CASE("threads share a tokenizer", "[tokenizer]") {
    const auto tokenizer = Tokenizer::load("test/data/tokenizer/llama3");
    std::vector<std::string> texts;
    std::vector<std::vector<int32_t>> expected;
    for (int i = 0; i < 200; ++i) texts.push_back("word" + std::to_string(i * i) + " the quick " + std::string(i, 'x'));
    for (const std::string& text : texts)
        expected.push_back(Tokenizer::load("test/data/tokenizer/llama3")->encode(text));
    std::vector<std::vector<std::vector<int32_t>>> found(4);
    std::vector<std::thread> threads;
    for (auto& ids : found) {
        threads.emplace_back([&] {
            for (const std::string& text : texts) ids.push_back(tokenizer->encode(text));
        });
    }
    for (std::thread& thread : threads) thread.join();
    for (const auto& ids : found) CHECK(ids == expected);
}
