// Chat templates as the user meets them: which one lays the texts out, what is said of it, and what an adapter keeps.
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "quaff/files/chat_settings.h"
#include "test/quaff/program.h"

using namespace program;

namespace {

const std::string kPair = R"({"input": "Spell AB", "output": "A B"})"
                          "\n";
const std::string kTurns =
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}{% if add_generation_prompt %}<assistant>{% "
    "endif "
    "%}";

// The demo's model with a chat template, and examples.
struct ChatDesk : Desk {
    std::string model = folder / "model", template_file = folder / "model/chat_template.jinja";
    std::string pairs = folder.write("pairs.jsonl", kPair);

    explicit ChatDesk(const std::string& jinja = kTurns) {
        fs::copy("dev/demo/model", model);
        test::write_text(template_file, jinja);
    }
    Ending run_on(const std::string& verb, const std::string& examples, const std::vector<std::string>& more) const {
        std::vector<std::string> arguments = {verb, "--model", model, "--data", examples};
        arguments.insert(arguments.end(), more.begin(), more.end());
        return run(arguments);
    }
    Ending train(const std::vector<std::string>& more) const {
        std::vector<std::string> arguments = {"--method", "fp", "--max-steps", "1", "--eval-split", "0", "--out", out};
        arguments.insert(arguments.end(), more.begin(), more.end());
        return run_on("train", pairs, arguments);
    }
    json kept() const { return llmc::read_json(fs::path(out) / "adapter/quaff.json")["chat"]; }
    std::string adapter_folder() const { return out + "/adapter"; }
};

// The text above the tokens of the first example.
std::string shown_text(const Ending& ending) {
    INFO(ending.err);
    CHECK(ending.status == 0);
    std::istringstream lines(ending.out);
    std::string text;
    for (std::string line; std::getline(lines, line);)
        if (line.starts_with("  | ")) text += line.substr(4) + "\n";
    return text;
}

}  // namespace

TEST_CASE("a model with a chat template is trained in it, and the adapter keeps it", "[program][chat]") {
    const ChatDesk desk;
    const Ending trained = desk.train({});
    INFO(trained.err);
    REQUIRE(trained.status == 0);
    CHECK(mentions(trained.out, desk.pairs + ": 1 pair laid out in the model's chat template (chat_template.jinja)\n"));
    CHECK(desk.kept() == json{{"template", "auto"},
                              {"templates", {{{"name", "default"}, {"jinja", kTurns}}}},
                              {"loss_on", "all"},
                              {"train_on_source", false},
                              {"data_format", "auto"}});
    const std::string own = "<user>Spell AB\n<assistant>A B\n<|endoftext|>\n";
    CHECK(shown_text(desk.run_on("eval", desk.pairs, {"--show-tokens", "1"})) == own);

    // Another template of the model, and other choices, are told; the adapter's is used unless one is asked for.
    test::write_text(desk.template_file, "{% for m in messages %}[{{ m.content }}]{% endfor %}");
    const std::vector<std::string> with = {"--adapter", desk.adapter_folder(), "--show-tokens", "1"};
    const Ending followed = desk.run_on("eval", desk.pairs, with);
    CHECK(shown_text(followed) == own);
    CHECK(mentions(followed.err, "its chat template is not the one that " + desk.adapter_folder() +
                                     " was trained with, which is used"));
    const auto asked = [&](const std::string& name) {
        std::vector<std::string> arguments = with;
        arguments.insert(arguments.end(), {"--template", name});
        return desk.run_on("eval", desk.pairs, arguments);
    };
    CHECK(shown_text(asked("none")) == "Spell ABA B<|endoftext|>\n");
    CHECK(mentions(asked("none").err, "--template none: the adapter " + desk.adapter_folder() +
                                          " was trained with its model's chat template; leave --template out to keep "
                                          "that"));
    CHECK(shown_text(asked("auto")) == own);
    CHECK(shown_text(desk.run_on("eval", desk.pairs, {"--show-tokens", "1"})) == "[Spell AB][A B]<|endoftext|>\n");
}

TEST_CASE("--template none is the way out of a model's template, and is told", "[program][chat]") {
    const ChatDesk desk;
    const Ending trained = desk.train({"--template", "none"});
    REQUIRE(trained.status == 0);
    CHECK(mentions(trained.out, desk.pairs + ": 1 pair taken as it is, without the model's chat template (--template "
                                             "none)\n"));
    CHECK(desk.kept()["template"] == "none");
    CHECK_FALSE(desk.kept().contains("templates"));
    const std::string chat = desk.folder.write(
        "chat.jsonl", R"({"messages": [{"role": "user", "content": "u"}, {"role": "assistant", "content": "a"}]})");
    const Ending refused = desk.run_on("info", chat, {"--template", "none", "--show-tokens", "1"});
    CHECK(refused.status == 1);
    CHECK(mentions(refused.err, chat + ":1: a conversation needs a chat template. --template none leaves texts as they "
                                       "are. Set --template to auto or one of alpaca, chatml"));
}

TEST_CASE("a run that is resumed goes on with its own template", "[program][chat]") {
    const ChatDesk desk("{% for m in messages %}{{ m.role + strftime_now(' %Y-%m-%d ') + m.content }}{% endfor %}");
    CHECK(desk.train({"--loss-on", "last", "--train-on-source"}).status == 2);
    const Ending begun = desk.train({"--date", "2024-02-29", "--save-steps", "1", "--loss-on", "last"});
    INFO(begun.err);
    REQUIRE(begun.status == 0);
    CHECK(desk.kept()["date"] == "2024-02-29");
    CHECK(desk.kept()["loss_on"] == "last");
    const std::vector<std::string> with = {"--adapter", desk.adapter_folder(), "--show-tokens", "1"};
    CHECK(shown_text(desk.run_on("eval", desk.pairs, with)) ==
          "user 2024-02-29 Spell ABassistant 2024-02-29 A B<|endoftext|>\n");
    test::write_text(desk.template_file, "{% for m in messages %}[{{ m.content }}]{% endfor %}");
    const Ending resumed = desk.run({"train", "--resume", "--out", desk.out, "--max-steps", "2"});
    INFO(resumed.err);
    CHECK(resumed.status == 0);
    CHECK(mentions(resumed.err, "its chat template is not the one that"));
    CHECK(desk.kept()["date"] == "2024-02-29");
    CHECK(mentions(desk.kept()["templates"][0]["jinja"], "strftime_now"));
}

TEST_CASE("an adapter's loss and data format hold until others are asked for", "[program][chat]") {
    const ChatDesk desk;
    const std::string marked = desk.folder.write(
        "marked.jsonl",
        R"({"messages": [{"role": "user", "content": "A"}, {"role": "assistant", "content": "B", "weight": 0},)"
        R"( {"role": "user", "content": "C"}, {"role": "assistant", "content": "D"}]})");
    const auto labelled = [&](const std::vector<std::string>& more) {
        std::vector<std::string> arguments = {"--adapter", desk.adapter_folder(), "--exact-match", "off"};
        arguments.insert(arguments.end(), more.begin(), more.end());
        return desk.run_on("eval", desk.pairs, arguments);
    };
    REQUIRE(desk.train({"--train-on-source", "--data-format", "none"}).status == 0);
    const int64_t all = labelled({"--json"}).object()["labelled_tokens"];
    const Ending off = labelled({"--json", "--train-on-source=false"});
    CHECK(off.object()["labelled_tokens"] < all);
    CHECK(mentions(off.err, desk.adapter_folder() + " was trained with --train-on-source; the loss counts other"));
    CHECK(mentions(labelled({"--data-format", "auto"}).err,
                   "--data-format auto: the adapter " + desk.adapter_folder() + " was trained with none"));
    CHECK(mentions(desk.run_on("eval", marked, {"--adapter", desk.adapter_folder()}).err, "a message is marked"));
}

TEST_CASE("a date that nobody fixed is today's, and told", "[program][chat]") {
    const ChatDesk desk("{{ strftime_now('%Y') }}{% for m in messages %}{{ m.content }}{% endfor %}");
    const Ending trained = desk.train({});
    INFO(trained.err);
    REQUIRE(trained.status == 0);
    const std::string date = desk.kept()["date"];
    CHECK(quaff::parse_date(date).has_value());
    CHECK(
        mentions(trained.out, "the chat template writes today's date, " + date + "; --date YYYY-MM-DD fixes another"));
    for (const char* no_day : {"2023-02-29", "today", "2024-1-1", "0000-01-01", "2024-13-01"}) {
        const Ending refused = desk.train({"--date", no_day});
        CHECK(refused.status == 2);
        CHECK(mentions(refused.err, "--date must be a day such as 2026-01-31"));
    }
}

TEST_CASE("prompts are asked in the template", "[program][chat]") {
    const ChatDesk desk;
    const auto tokens = [&](const std::vector<std::string>& more, const std::string& prompt = "Spell AB") {
        std::vector<std::string> arguments = {"generate", "--model", desk.model,         "--prompt",
                                              prompt,     "--json",  "--max-new-tokens", "1"};
        arguments.insert(arguments.end(), more.begin(), more.end());
        return desk.run(arguments).object()["prompt_tokens"].get<int64_t>();
    };
    const int64_t own = tokens({});
    CHECK(own == tokens({"--template", "none"}, "<user>Spell AB\n<assistant>"));
    CHECK(tokens({"--template", "none"}) < own);
    CHECK(tokens({"--chat"}) == own);
    CHECK(tokens({"--template", "auto"}) == own);
    const std::string file = desk.folder.write("mine.jinja", "{{ messages[0].content }}");
    CHECK(tokens({"--template", file}) == tokens({"--template", "none"}));

    // An adapter that was trained without one is asked without it.
    REQUIRE(desk.train({"--template", "none"}).status == 0);
    CHECK(tokens({"--adapter", desk.adapter_folder()}) == tokens({"--template", "none"}));
    CHECK(tokens({"--adapter", desk.adapter_folder(), "--chat"}) == own);
    fs::remove(desk.template_file);
    CHECK(mentions(desk.run({"generate", "--model", desk.model, "--prompt", "x", "--chat"}).err,
                   "the model has no chat template"));
}

TEST_CASE("tools of a file are for examples without their own", "[program][chat]") {
    const ChatDesk desk("{{ (tools or []) | tojson }}{% for m in messages %}{{ m.content }}{% endfor %}");
    const std::string tools = desk.folder.write("tools.json", R"([{"z": 1, "a": 2}])");
    const std::vector<std::string> show = {"--tools", tools, "--show-tokens", "1"};
    CHECK(shown_text(desk.run_on("info", desk.pairs, show)) == "[{\"z\": 1, \"a\": 2}]Spell ABA B<|endoftext|>\n");
    REQUIRE(desk.train({"--tools", tools}).status == 0);
    CHECK(shown_text(desk.run_on("eval", desk.pairs, {"--adapter", desk.adapter_folder(), "--show-tokens", "1"})) ==
          "[{\"z\": 1, \"a\": 2}]Spell ABA B<|endoftext|>\n");
    const Ending nowhere =
        desk.run_on("info", desk.pairs, {"--tools", tools, "--template", "chatml", "--show-tokens", "1"});
    CHECK(nowhere.status == 2);
    CHECK(mentions(nowhere.err, "--tools: the layout chatml has no place for tools"));
    const std::string wrong = desk.folder.write("wrong.json", R"({"name": "f"})");
    const Ending refused = desk.run_on("info", desk.pairs, {"--tools", wrong, "--show-tokens", "1"});
    CHECK(refused.status == 1);
    CHECK(mentions(refused.err, wrong + ": must hold a JSON list of tools, each an object"));
    test::write_text(desk.template_file, "{% for m in messages %}{{ m.content }}{% endfor %}");
    CHECK(mentions(desk.run_on("info", desk.pairs, show).err,
                   "the chat template never writes the field \"tools\", which 1 example has"));
}

TEST_CASE("a template is checked where it is used", "[program][chat]") {
    const ChatDesk desk("{{ broken");
    const std::string ids = desk.folder.write("ids.jsonl", R"({"input_ids": [1, 2, 3]})");
    CHECK(desk.run_on("info", ids, {"--show-tokens", "1"}).status == 0);
    const Ending refused = desk.run_on("info", desk.pairs, {"--show-tokens", "1"});
    CHECK(refused.status == 1);
    CHECK(mentions(refused.err, desk.pairs + ":1: " + desk.template_file + ":1:"));
    const Ending unknown = desk.run_on("info", desk.pairs, {"--template", "llama9", "--show-tokens", "1"});
    CHECK(unknown.status == 2);
    CHECK(mentions(unknown.err, "--template must be auto, none, a file that ends in .jinja, or one of alpaca, chatml"));
    CHECK(mentions(desk.run_on("info", desk.pairs, {"--template", "no.jinja", "--show-tokens", "1"}).err, "no.jinja"));
    CHECK(mentions(desk.run_on("info", desk.pairs, {"--template", "chatml", "--show-tokens", "1"}).err,
                   "--template chatml: <|im_start|>, <|im_end|> of this layout is no token of the model"));
}

TEST_CASE("odd examples are told once, with their number", "[program][chat]") {
    const ChatDesk desk;
    const std::string row = R"({"input": "Spell AB", "output": ""})"
                            "\n";
    const std::string data = desk.folder.write("odd.jsonl", row + row + kPair);
    const Ending shown = desk.run_on("info", data, {"--show-tokens", "1"});
    CHECK(shown.status == 0);
    CHECK(mentions(shown.err, data + ": 2 answers are empty\n"));
    const std::string nothing = desk.folder.write("nothing.jsonl", R"({"input": "<|endoftext|>", "output": ""})"
                                                                   "\n" +
                                                                       kPair);
    CHECK(mentions(desk.run_on("info", nothing, {"--template", "none", "--show-tokens", "1"}).err,
                   nothing + ": 1 example holds special tokens alone\n"));
}
