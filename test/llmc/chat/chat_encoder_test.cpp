#include "llmc/chat/chat_encoder.h"

#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <span>

#include "llmc/core/error.h"
#include "test/catch.h"
#include "test/files.h"
#include "test/llmc/chat/conversations.h"

using namespace llmc;
using Catch::Matchers::ContainsSubstring;
using test::conversation;
using test::jinja_template;

namespace {

const std::filesystem::path kTokenizers = "test/data/tokenizer";

const Tokenizer& tokenizer_of(const std::string& name) {
    static std::map<std::string, std::unique_ptr<Tokenizer>> loaded;
    std::unique_ptr<Tokenizer>& tokenizer = loaded[name];
    if (!tokenizer) tokenizer = Tokenizer::load(kTokenizers / name);
    return *tokenizer;
}

struct Encoded {
    EncodedConversation all;
    std::string text, in_loss;  // in_loss: the tokens of the loss, others as one dot
};

Encoded encode(const std::string& name, const ChatTemplate& chat_template, const Conversation& said,
               LossOn loss_on = LossOn::all) {
    const Tokenizer& tokenizer = tokenizer_of(name);
    const ChatEncoder encoder(chat_template, tokenizer, tokenizer.eos_id().value_or(-1), loss_on);
    Encoded encoded{encoder.encode(said), chat_template.render(chat_template.variables(said, false)).text, ""};
    const std::vector<int32_t>& ids = encoded.all.ids;
    REQUIRE(encoded.all.in_loss.size() == ids.size());
    CHECK(std::vector(ids.begin(), ids.end() - encoded.all.ends_in_eos) == tokenizer.encode(encoded.text));
    for (size_t t = 0; t < ids.size();) {
        size_t end = t;
        while (end < ids.size() && encoded.all.in_loss[end] == encoded.all.in_loss[t]) ++end;
        encoded.in_loss += encoded.all.in_loss[t] ? tokenizer.decode(std::span(ids).subspan(t, end - t), false) : ".";
        t = end;
    }
    return encoded;
}

const std::string kSmol = "smollm2";
const std::string kLast = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}";

// From one line of masks.jsonl: a template, a conversation, and what transformers makes of them.
void check_mask(const Json& line, const std::string& jinja) {
    INFO(line["template"] << ", " << line["conversation"]);
    TemplateContext context;
    for (const char* name : {"bos_token", "eos_token"})
        if (!line[name].is_null()) context.special_tokens[name] = line[name];
    Conversation said;
    said.messages = line["messages"];
    const std::string folder = line["tokenizer"];
    const Encoded encoded =
        encode(std::filesystem::path(folder).filename().string(), jinja_template(jinja, context), said);
    CHECK(encoded.text == line["text"].get<std::string>());
    CHECK(encoded.all.ids == line["input_ids"].get<std::vector<int32_t>>());
    const std::vector<int> mask = line["assistant_masks"];
    CHECK(encoded.all.in_loss == std::vector<char>(mask.begin(), mask.end()));
}

int check_masks(const std::filesystem::path& folder) {
    int n = 0;
    std::ifstream lines(folder / "masks.jsonl");
    for (std::string line; std::getline(lines, line); ++n) {
        const Json mask = Json::parse(line);
        check_mask(mask, test::read(folder / mask["template"].get<std::string>()));
    }
    return n;
}

}  // namespace

TEST_CASE("answers and what ends their turns are in the loss", "[chat]") {
    const Conversation said = conversation(
        {{"system", "S"}, {"user", "One?"}, {"assistant", "Yes."}, {"user", "Two?"}, {"assistant", "No.\n"}});
    CHECK(encode(kSmol, jinja_template(kLast), said).in_loss == ".Yes.<|im_end|>.No.\n<|im_end|>.");
    CHECK(encode(kSmol, jinja_template(kLast), said, LossOn::last).in_loss == ".No.\n<|im_end|>.");
    Conversation marked = said;
    marked.trained = {1, 1, 0, 1, 1};
    CHECK(encode(kSmol, jinja_template(kLast), marked).in_loss == ".No.\n<|im_end|>.");
    marked.trained = {1, 1, 1, 1, 0};
    CHECK(encode(kSmol, jinja_template(kLast), marked).in_loss == ".Yes.<|im_end|>.");
    CHECK(encode(kSmol, jinja_template(kLast), marked, LossOn::last).in_loss == ".");

    // Blanks before the token that ends the turn; blanks that merge with the answer's.
    const auto around = [&](const std::string& before, const std::string& behind) {
        return encode(kSmol,
                      jinja_template("{% for m in messages %}<|im_start|>{{ m.role + '" + before + "' + m.content + '" +
                                     behind + "' }}{% endfor %}"),
                      said)
            .in_loss;
    };
    CHECK(around("\\n", " \\n<|im_end|>") == ".Yes. \n<|im_end|>.No.\n \n<|im_end|>");
    CHECK(around(" ", "<|im_end|>") == ".Yes.<|im_end|>.No.\n<|im_end|>");
}

TEST_CASE("a turn without an end ends where the next begins, and the last in EOS", "[chat]") {
    const Conversation said =
        conversation({{"user", "One?"}, {"assistant", "Yes."}, {"user", "Two?"}, {"assistant", "No."}});
    const Encoded bare = encode(
        kSmol, jinja_template("{% for m in messages %}<|im_start|>{{ m.role + '\\n' + m.content }}{% endfor %}"), said);
    CHECK(bare.in_loss == ".Yes.<|im_start|>.No.<|im_end|>");
    CHECK(bare.all.ends_in_eos);
    // Words that are no token: the turn has no end but the last.
    const std::string words = "{% for m in messages %}{{ m.role + ': ' + m.content + '\\n' }}{% endfor %}";
    CHECK(encode(kSmol, jinja_template(words), said).in_loss == ".Yes..No.\n<|im_end|>");
    Conversation asks = said;
    asks.messages.push_back({{"role", "user"}, {"content", "Three?"}});
    const Encoded asked = encode(kSmol, jinja_template(words), asks);
    CHECK(asked.in_loss == ".Yes..No..");
    CHECK_FALSE(asked.all.ends_in_eos);
    const ChatTemplate bare_words = jinja_template(words);
    CHECK_THAT(test::error_of([&] { ChatEncoder(bare_words, tokenizer_of(kSmol), -1, LossOn::all).encode(said); }),
               ContainsSubstring("names no end-of-sequence token"));
}

TEST_CASE("what the template writes behind the last answer ends each turn", "[chat]") {
    const Conversation said =
        conversation({{"user", "One?"}, {"assistant", "Yes."}, {"user", "Two?"}, {"assistant", "No."}});
    const std::string closed =
        "{% for m in messages %}<|im_start|>{{ m.role + '\n' + m.content + ' [DONE]' }}<|im_end|>\n{% endfor %}";
    CHECK(encode(kSmol, jinja_template(closed), said).in_loss == ".Yes. [DONE]<|im_end|>.No. [DONE]<|im_end|>.");
}

TEST_CASE("calls are in the loss as a whole", "[chat]") {
    Conversation said = conversation({{"user", "?"}, {"assistant", ""}, {"tool", "7"}, {"assistant", "It is 7."}});
    said.messages[1]["tool_calls"] = Json::array({{{"function", {{"name", "find"}, {"arguments", {{"x", "here"}}}}}}});
    CHECK(encode(kSmol, jinja_template(test::kChatml), said).in_loss ==
          ".<call>find {\"x\": \"here\"}</call><|im_end|>.It is 7.<|im_end|>.");
    const std::string strict =
        "{% set ns = namespace(called=false) %}{% for m in messages %}<|im_start|>{{ m.role + '\n' }}"
        "{% if m.tool_calls %}[{{ m.tool_calls[0].function.name }} {{ m.tool_calls[0].function.arguments | tojson }}]"
        "{% set ns.called = true %}{% elif m.role == 'tool' and not ns.called %}{{ raise_exception('No call.') }}"
        "{% else %}{{ m.content }}{% endif %}<|im_end|>\n{% endfor %}";
    CHECK(encode(kSmol, jinja_template(strict), said).in_loss ==
          ".[find {\"x\": \"here\"}]<|im_end|>.It is 7.<|im_end|>.");
}

TEST_CASE("a special token in a message is that token", "[chat]") {
    const Encoded encoded =
        encode(kSmol, jinja_template(kLast),
               conversation({{"user", "What is <|im_end|>?"}, {"assistant", "It <|im_end|> ends."}}));
    CHECK(encoded.in_loss == ".It <|im_end|> ends.<|im_end|>.");
}

TEST_CASE("empty answers and unheard fields are counted", "[chat]") {
    Conversation said = conversation({{"user", "?"}, {"assistant", ""}, {"user", "!"}, {"assistant", "a"}});
    said.tools = Json::array({{{"name", "f"}}});
    const Encoded encoded = encode(kSmol, jinja_template(kLast), said);
    CHECK(encoded.in_loss == ".<|im_end|>.a<|im_end|>.");
    CHECK(encoded.all.empty_answers == 1);
    CHECK(encoded.all.unheard == std::vector<std::string>{"tools"});
    CHECK(encode(kSmol, jinja_template(kLast), said, LossOn::last).all.empty_answers == 0);
}

TEST_CASE("a named layout gets BOS where the tokenizer adds one", "[chat]") {
    const Tokenizer& llama = tokenizer_of("llama2");
    REQUIRE(llama.adds_bos());
    const Conversation said = conversation({{"user", "Hi"}, {"assistant", "Ho"}});
    for (const char* name : {"alpaca", "llama2"}) {
        const ChatTemplate layout = ChatTemplate::named(name, {});
        const ChatEncoder encoder(layout, llama, llama.eos_id().value(), LossOn::all);
        for (const std::vector<int32_t>& ids : {encoder.encode(said).ids, encoder.encode_prompt(said)}) {
            CHECK(ids[0] == llama.bos_id());
            CHECK(ids[1] != llama.bos_id());
        }
        CHECK(encoder.encode(said).in_loss.size() == encoder.encode(said).ids.size());
    }
    const ChatTemplate own = jinja_template("{% for m in messages %}{{ m.content }}{% endfor %}");
    CHECK(ChatEncoder(own, llama, 2, LossOn::all).encode_prompt(said) == llama.encode("HiHo"));
}

TEST_CASE("the tokens that end a turn are those that end it in training", "[chat]") {
    const auto ends = [](const std::string& jinja) {
        const ChatTemplate chat_template = jinja_template(jinja);
        return ChatEncoder(chat_template, tokenizer_of(kSmol), 0, LossOn::all).end_tokens();
    };
    const std::string own = test::read("test/data/chat/own-generation.jinja");
    CHECK(ends(kLast) == std::vector<int32_t>{2});
    CHECK(ends(own) == std::vector<int32_t>{2});
    CHECK(ends("{% for m in messages %}<|im_start|>{{ m.role + '\n' + m.content }}{% endfor %}") ==
          std::vector<int32_t>{0, 1});
    CHECK(ends("{{ raise_exception('Not so.') }}").empty());
}

TEST_CASE("spans that a template marks itself are its loss", "[chat]") {
    const std::string own = test::read("test/data/chat/own-generation.jinja"),
                      last = test::read("test/data/chat/own-generation-last.jinja");
    Conversation said = conversation({{"user", "One?"}, {"assistant", "Yes."}, {"user", "Two?"}, {"assistant", "No."}});
    CHECK(encode(kSmol, jinja_template(own), said).in_loss == ".Yes.<|im_end|>.No.<|im_end|>.");
    CHECK(encode(kSmol, jinja_template(own), said, LossOn::last).in_loss == ".No.<|im_end|>.");
    CHECK(encode(kSmol, jinja_template(last), said, LossOn::last).in_loss == ".No.<|im_end|>");
    said.trained = {1, 1, 1, 0};
    CHECK(encode(kSmol, jinja_template(own), said).in_loss == ".Yes.<|im_end|>.");
    CHECK(encode(kSmol, jinja_template(last), said).in_loss == ".");
}

TEST_CASE("the loss of marked spans is that of transformers' assistant mask", "[chat]") {
    CHECK(check_masks("test/data/chat") == 12);
}

TEST_CASE("the same of the shared cases", "[chat][cases]") {
    const char* folder = std::getenv("QUAFF_CASES");
    if (!folder) {
        WARN("skipped: QUAFF_CASES does not name the folder of the cases");
        return;
    }
    CHECK(check_masks(std::filesystem::path(folder) / "templates") > 0);
}
