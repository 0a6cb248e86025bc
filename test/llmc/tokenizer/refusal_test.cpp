// What the files may not hold: every refusal names the file and the thing; nothing crashes.
#include <random>
#include <thread>

#include "llmc/core/error.h"
#include "llmc/io/file_io.h"
#include "llmc/tokenizer/tokenizer.h"
#include "test/catch.h"
#include "test/llmc/tokenizer/model_directory.h"

using namespace llmc;
using Catch::Matchers::ContainsSubstring;
using nlohmann::json;

namespace {

// a b c, merged to ab and abc; <s> is 5, </s> 6.
constexpr const char* kSmallTokenizer = R"({
    "version": "1.0",
    "added_tokens": [
        {"id": 5, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
         "special": true},
        {"id": 6, "content": "</s>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
         "special": true}],
    "normalizer": null, "pre_tokenizer": null, "post_processor": null,
    "decoder": {"type": "Fuse"},
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "c": 2, "ab": 3, "abc": 4}, "merges": ["a b", "ab c"]}})";

std::string split(const std::string& regex) {
    return R"({"type": "Split", "pattern": {"Regex": )" + json(regex).dump() +
           R"(}, "behavior": "Isolated", "invert": false})";
}

// A TemplateProcessing that puts the tokens `before` the text, or consists of them alone.
std::string template_processing(const std::vector<std::string>& before, bool text = true) {
    std::string single;
    for (const std::string& token : before) {
        single += R"({"SpecialToken": {"id": ")" + token + R"(", "type_id": 0}},)";
    }
    if (text) single += R"({"Sequence": {"id": "A", "type_id": 0}},)";
    single.pop_back();
    return R"({"type": "TemplateProcessing", "pair": [], "special_tokens": {
                   "<s>": {"id": "<s>", "ids": [5], "tokens": ["<s>"]},
                   "</s>": {"id": "</s>", "ids": [6], "tokens": ["</s>"]}}, "single": [)" +
           single + "]}";
}

}  // namespace

TEST_CASE("a small tokenizer loads as it is", "[tokenizer]") {
    ModelDirectory model;
    model.write_bytes("tokenizer.json", kSmallTokenizer);
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
        std::string value;
        const char* message;
    };
    const std::vector<Case> cases = {
        {"/version", R"("2.0")", "version"},
        {"/model", "null", "model"},
        {"/model/type", R"("WordLevel")", "WordLevel"},
        {"/model/type", R"("WordPiece")", "WordPiece"},
        {"/model/dropout", "0.1", "dropout"},
        {"/model/continuing_subword_prefix", R"("##")", "continuing_subword_prefix"},
        {"/model/end_of_word_suffix", R"("</w>")", "</w>"},
        {"/model/unk_token", R"("<unk>")", "unk_token"},
        {"/model/vocab", "{}", "empty"},
        {"/model/vocab", "[]", "vocab"},
        {"/model/vocab/a", "-1", "-1"},
        {"/model/vocab/a", "1.5", "1.5"},
        {"/model/vocab/a", R"("x")", "\"x\""},
        {"/model/vocab/a", "1099511627776", "1099511627776"},
        {"/model/vocab/a", "1", "to two tokens"},
        {"/model/vocab/a", "[1]", "an id from 0 to 16777215, found [1]"},
        {"/model/merges", R"({"a": "b"})", "a list"},
        {"/model/merges", "null", "merges"},
        {"/model/merges", R"("a b")", "a list"},
        {"/model/merges/0", R"("a")", "two tokens"},
        {"/model/merges/0", R"("a b c")", "two tokens"},
        {"/model/merges/0", R"(["a"])", "two tokens"},
        {"/model/merges/1", R"(["a", 1])", "entry 1"},
        {"/model/merges/0", R"("a x")", "\"x\", which is not in the vocabulary"},
        {"/model/merges/1", R"("b c")", "\"bc\", which is not in the vocabulary"},
        {"/normalizer", R"({"type": "BertNormalizer"})", "BertNormalizer"},
        {"/normalizer", R"({"type": "Sequence", "normalizers": [{"type": "Precompiled"}]})", "Precompiled"},
        {"/normalizer", R"({"type": "Replace", "pattern": {"String": ""}, "content": "x"})", "empty"},
        {"/pre_tokenizer", R"({"type": "BertPreTokenizer"})", "BertPreTokenizer"},
        {"/pre_tokenizer", R"({"type": "Sequence", "pretokenizers": [{"type": "UnicodeScripts"}]})", "UnicodeScripts"},
        {"/pre_tokenizer", R"({"type": "Sequence", "pretokenizers": "Digits"})", "a list"},
        {"/pre_tokenizer", split("(a"), "not valid"},
        {"/pre_tokenizer", split("[a[^b]]"), "a negated set inside a set"},
        {"/pre_tokenizer", split("[]a]"), "a set that begins with ]"},
        {"/pre_tokenizer", split("[a&&b]"), "&&"},
        {"/pre_tokenizer", split("[\\W]"), "\\W inside a set"},
        {"/pre_tokenizer", split("[[:graph:]]"), "[:graph:]"},
        {"/pre_tokenizer", split("(?x:a)"), "(?x"},
        {"/pre_tokenizer", split("(?i"), "uses (?"},
        {"/pre_tokenizer", split("(?~a)"), "(?~"},
        {"/pre_tokenizer", split("(*F)"), "(*"},
        {"/pre_tokenizer", split("(?#a"), "(?# without an end"},
        {"/pre_tokenizer", split("a{2,3}+"), "{n,m}+"},
        {"/pre_tokenizer", split("a{2}?"), "{n}?"},
        {"/pre_tokenizer", split("\\xE9"), "\\xE9"},
        {"/pre_tokenizer", split("\\u12"), "\\u12"},
        {"/pre_tokenizer", split("\\g<a>"), "\\g"},
        {"/pre_tokenizer", split("\\p{Print}"), "\\p{Print}"},
        {"/pre_tokenizer", split("\\p{Klingon}"), "not valid"},
        {"/pre_tokenizer", split("(?<=a+)b"), "not valid"},
        {"/pre_tokenizer", split("\\"), "\\"},
        {"/pre_tokenizer", split("\\pL"), "without"},
        {"/pre_tokenizer", R"({"type": "Split", "pattern": {"Glob": "*"}, "behavior": "Isolated", "invert": false})",
         "Regex"},
        {"/pre_tokenizer", R"({"type": "Split", "pattern": {"String": "a"}, "behavior": "Often", "invert": false})",
         "Often"},
        {"/pre_tokenizer", R"({"type": "Metaspace", "replacement": "__"})", "one character"},
        {"/pre_tokenizer", R"({"type": "Metaspace", "replacement": "_", "prepend_scheme": "last"})", "last"},
        {"/post_processor", R"({"type": "RobertaProcessing"})", "RobertaProcessing"},
        {"/post_processor", template_processing({"<s>", "</s>"}), "at most one token"},
        {"/post_processor", template_processing({"<s>"}, false), "sequence A once"},
        {"/post_processor", template_processing({"<x>"}), "<x>"},
        {"/post_processor/special_tokens/<s>/ids", "[1e300]", "ids"},
        {"/post_processor/special_tokens/<s>/ids", "[0.5]", "ids"},
        {"/post_processor/special_tokens/<s>/ids", "[-5]", "ids"},
        {"/post_processor/special_tokens/<s>/ids", "5", "a list of token ids"},
        {"/decoder", R"({"type": "WordPiece"})", "WordPiece"},
        {"/decoder", R"({"type": "Strip", "content": " ", "start": 0, "stop": 1})", "stop"},
        {"/added_tokens", "3", "added_tokens"},
        {"/added_tokens/0/id", "7", "would give it 5"},
        {"/added_tokens/0/content", "7", "content"},
        {"/added_tokens/0", R"("<s>")", "\"<s>\""},
        {"/added_tokens/0/content", json(std::string(1025, 'a')).dump(), "1025 bytes, more than the 1024"},
    };
    ModelDirectory model;
    for (const Case& refused : cases) {
        json tokenizer = json::parse(kSmallTokenizer);
        if (std::string(refused.where).find("special_tokens") != std::string::npos)
            tokenizer["post_processor"] = json::parse(template_processing({"<s>"}));
        tokenizer[json::json_pointer(refused.where)] = json::parse(refused.value);
        model.write("tokenizer.json", tokenizer);
        INFO(refused.where << " = " << refused.value);
        CHECK_THROWS_AS(Tokenizer::load(model.path()), Error);
        CHECK_THROWS_WITH(Tokenizer::load(model.path()),
                          ContainsSubstring("tokenizer.json") && ContainsSubstring(refused.message));
    }
}

TEST_CASE("a vocabulary that names a token twice is refused", "[tokenizer]") {
    std::string text = kSmallTokenizer;
    const std::string vocab = "\"vocab\": {";
    text.insert(text.find(vocab) + vocab.size(), "\"ab\": 99, ");
    ModelDirectory model;
    model.write_bytes("tokenizer.json", text);
    CHECK_THROWS_WITH(Tokenizer::load(model.path()), ContainsSubstring("holds the token \"ab\" twice"));
}

TEST_CASE("a damaged Unigram model is refused by name", "[tokenizer]") {
    const auto refusal = [](const json& model) {
        ModelDirectory directory;
        directory.write("tokenizer.json", {{"model", model}});
        try {
            Tokenizer::load(directory.path())->encode("ab");
        } catch (const Error& error) {
            return std::string(error.what());
        }
        return std::string();
    };
    const json vocab = json::parse(R"([["<unk>", 0.0], ["a", -1.5]])");
    CHECK(refusal({{"type", "Unigram"}, {"vocab", vocab}, {"unk_id", 0}}).empty());
    CHECK_THAT(refusal({{"type", "Unigram"}, {"vocab", vocab}, {"unk_id", 2}}), ContainsSubstring("unk_id"));
    CHECK_THAT(refusal({{"type", "Unigram"}, {"vocab", vocab}}), ContainsSubstring("has no token for \"b\""));
    CHECK_THAT(refusal({{"type", "Unigram"}, {"vocab", json::array()}}), ContainsSubstring("not empty"));
    CHECK_THAT(refusal({{"type", "Unigram"}, {"vocab", json::parse(R"([["a", "b"]])")}}), ContainsSubstring("entry 0"));
    CHECK_THAT(refusal({{"type", "Unigram"}}), ContainsSubstring("vocab"));
    CHECK_THAT(refusal({{"type", "Unigram"}, {"vocab", json::array({json::array({std::string(1025, 'a'), -1.5})})}}),
               ContainsSubstring("1025 bytes, more than the 1024"));
}

TEST_CASE("a regular expression that runs away is an error", "[tokenizer]") {
    json tokenizer = json::parse(kSmallTokenizer);
    tokenizer["pre_tokenizer"] = json::parse(split("(?:a+)+c"));
    ModelDirectory model;
    model.write("tokenizer.json", tokenizer);
    // 2^60 ways to cut the run, and none of them ends in c: PCRE2's limit ends the search.
    CHECK_THROWS_WITH(Tokenizer::load(model.path())->encode(std::string(60, 'a') + "bc"),
                      ContainsSubstring("regular expression gave up") && ContainsSubstring("limit"));
}

TEST_CASE("the configuration says which tokens begin and end a text", "[tokenizer]") {
    ModelDirectory model;
    json tokenizer = json::parse(kSmallTokenizer);
    tokenizer["post_processor"] = json::parse(template_processing({"<s>"}));
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
    CHECK(loaded->is_special(4));  // a named token is special, and matched before the model sees the text
    CHECK(loaded->encode("ababc") == std::vector<int32_t>{3, 4});

    model.write("tokenizer_config.json", {{"add_bos_token", false}, {"add_eos_token", true}});
    loaded = Tokenizer::load(model.path());
    CHECK(loaded->adds_bos());  // the post-processor decides, as in transformers 5
    CHECK(!loaded->adds_eos());

    model.write("tokenizer_config.json", {{"bos_token", "</s>"}});
    CHECK_THROWS_WITH(Tokenizer::load(model.path()),
                      ContainsSubstring("bos_token") && ContainsSubstring("post_processor"));
    model.write("tokenizer_config.json", {{"eos_token", "<eos>"}});
    CHECK_THROWS_WITH(Tokenizer::load(model.path()), ContainsSubstring("eos_token") && ContainsSubstring("<eos>"));
    model.write("tokenizer_config.json", {{"eos_token", 2}});
    CHECK_THROWS_WITH(Tokenizer::load(model.path()), ContainsSubstring("eos_token"));
    model.write("tokenizer_config.json", {{"additional_special_tokens", {"ab"}}});
    CHECK(Tokenizer::load(model.path())->is_special(3));
    model.write("tokenizer_config.json", {{"extra_special_tokens", {"<x>"}}});
    CHECK_THROWS_WITH(Tokenizer::load(model.path()),
                      ContainsSubstring("extra_special_tokens") && ContainsSubstring("<x>"));

    // added_tokens_decoder changes a token of tokenizer.json and adds one behind the last.
    const json end = {{"content", "</s>"}, {"lstrip", true}, {"special", true}};
    const json more = {{"content", "<more>"}, {"special", true}};
    model.write("tokenizer_config.json", {{"added_tokens_decoder", {{"7", more}, {"6", end}}}});
    loaded = Tokenizer::load(model.path());
    CHECK(loaded->vocab_size() == 8);
    CHECK(loaded->encode("a  </s><more>") == std::vector<int32_t>{0, 6, 7});
    model.write("tokenizer_config.json", {{"added_tokens_decoder", {{"8", more}}}});
    CHECK_THROWS_WITH(Tokenizer::load(model.path()),
                      ContainsSubstring("tokenizer_config.json") && ContainsSubstring("would give it 7"));
    model.write("tokenizer_config.json", {{"added_tokens_decoder", {{"x", more}}}});
    CHECK_THROWS_WITH(Tokenizer::load(model.path()), ContainsSubstring("must be an object whose keys are token ids"));
}

TEST_CASE("a directory without a tokenizer says what is missing", "[tokenizer]") {
    ModelDirectory model;
    CHECK_THROWS_WITH(Tokenizer::load(model.path()), ContainsSubstring("neither tokenizer.json nor tokenizer.model"));
}

TEST_CASE("the tokenizer refuses text that is not UTF-8", "[tokenizer]") {
    ModelDirectory model;
    model.write_bytes("tokenizer.json", kSmallTokenizer);
    const auto tokenizer = Tokenizer::load(model.path());
    for (const char* bad : {"ab\xFF", "ab\xC0\x80", "ab\xED\xA0\x80", "ab\xF4\x90\x80\x80", "ab\xE2\x82", "ab\x80"}) {
        CHECK_THROWS_WITH(tokenizer->encode(bad), ContainsSubstring("not UTF-8: byte 2 "));
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
                CHECK_THAT(error.what(), ContainsSubstring("tokenizer.json"));
            }
        }
    }
    const std::string bytes = read_file("test/data/tokenizer/sentencepiece/tokenizer.model");
    ModelDirectory model;
    for (const size_t length : {size_t{0}, size_t{1}, size_t{100}, bytes.size() / 2}) {
        model.write_bytes("tokenizer.model", bytes.substr(0, length));
        CHECK_THROWS_WITH(Tokenizer::load(model.path()), ContainsSubstring("tokenizer.model"));
    }
    model.write_bytes("tokenizer.model", "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 499723\n");
    CHECK_THROWS_WITH(Tokenizer::load(model.path()), ContainsSubstring("Git LFS pointer"));
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

TEST_CASE("a tokenizer.json cannot ask for more than its size", "[tokenizer]") {
    const auto refusal = [](const std::string& part, const std::string& steps, const std::string& step, int count) {
        json tokenizer = json::parse(kSmallTokenizer);
        tokenizer[part] = {{"type", "Sequence"}, {steps, json::array()}};
        for (int i = 0; i < count; ++i) tokenizer[part][steps].push_back(json::parse(step));
        ModelDirectory model;
        model.write("tokenizer.json", tokenizer);
        try {
            Tokenizer::load(model.path());
        } catch (const Error& error) {
            return std::string(error.what());
        }
        return std::string();
    };
    const std::string twice = R"({"type": "Replace", "pattern": {"String": "a"}, "content": "aa"})";
    const std::string fuse = R"({"type": "Fuse"})";
    const std::string bytes = R"({"type": "ByteLevel", "add_prefix_space": false})";
    CHECK(refusal("normalizer", "normalizers", twice, 8).empty());
    CHECK_THAT(refusal("normalizer", "normalizers", twice, 9), ContainsSubstring("512 times as long"));
    CHECK_THAT(refusal("decoder", "decoders", twice, 40), ContainsSubstring("512 times as long"));
    CHECK_THAT(refusal("pre_tokenizer", "pretokenizers", bytes, 40), ContainsSubstring("512 times as long"));
    CHECK(refusal("decoder", "decoders", fuse, 64).empty());
    CHECK_THAT(refusal("decoder", "decoders", fuse, 65), ContainsSubstring("the step after 64 others"));

    ModelDirectory model;  // an id alone allocates nothing
    model.write_bytes("tokenizer.json", R"({"model": {"type": "BPE", "vocab": {"a": 16777215}, "merges": []}})");
    CHECK(Tokenizer::load(model.path())->encode("aa") == std::vector<int32_t>{16777215, 16777215});
}

TEST_CASE("a tokenizer.model is looked through before the library sees it", "[tokenizer]") {
    const std::string good = read_file("test/data/tokenizer/sentencepiece/tokenizer.model");
    const auto refusal = [&](const std::string& bytes) {
        ModelDirectory model;
        model.write_bytes("tokenizer.model", bytes);
        try {
            Tokenizer::load(model.path());
        } catch (const Error& error) {
            return std::string(error.what());
        }
        return std::string();
    };
    // Fields after the others: a piece { 1: text }, trainer_spec { 3: type }, normalizer_spec { 2: a map }.
    const auto piece = [&](const std::string& text) {
        return good + '\x0A' + static_cast<char>(text.size() + 2) + '\x0A' + static_cast<char>(text.size()) + text;
    };
    CHECK(refusal(good).empty());
    CHECK(refusal(piece("brand-new")).empty());
    CHECK_THAT(refusal(piece("")), ContainsSubstring("piece 700 is empty"));
    CHECK_THAT(refusal(piece(std::string("a\0b", 3))), ContainsSubstring("piece 700 is not text"));
    CHECK_THAT(refusal(piece("\xFF")), ContainsSubstring("piece 700 is not text"));
    CHECK_THAT(refusal(piece("<s>")), ContainsSubstring("piece 700 is <s>, which occurs twice"));
    CHECK_THAT(refusal(good + "\x12\x02\x18\x01"), ContainsSubstring("type 1; BPE, type 2, is supported"));
    CHECK_THAT(refusal(good + "\x1A\x03\x12\x01x"), ContainsSubstring("character map"));
    CHECK_THAT(refusal(good + "\x2A\x03\x12\x01x"), ContainsSubstring("character map"));
    // trainer_spec { 24: treat_whitespace_as_suffix }, normalizer_spec { 5: escape_whitespaces }, also of the output
    CHECK_THAT(refusal(good + "\x12\x03\xC0\x01\x01"), ContainsSubstring("treat_whitespace_as_suffix"));
    CHECK_THAT(refusal(good + std::string("\x1A\x02\x28\x00", 4)), ContainsSubstring("escape_whitespaces"));
    CHECK(refusal(good + std::string("\x2A\x02\x28\x00", 4)).empty());
    CHECK_THAT(refusal(good + "\x0A\x7F"), ContainsSubstring("not a SentencePiece model"));
    CHECK_THAT(refusal("version https://git-lfs.github.com/spec/v1\n"), ContainsSubstring("Git LFS pointer"));
    CHECK_THAT(refusal(""), ContainsSubstring("holds no piece"));
}
