// What a training run prints and leaves behind: its plan, its log, its summary and its adapter.
#include <sstream>

#include "test/quaff/program.h"

using namespace program;

TEST_CASE("train takes the golden step and reports it", "[program][golden]") {
    const Desk desk;
    const Ending ending = desk.train_golden({"--max-steps", "4"});
    INFO(ending.err);
    REQUIRE(ending.status == 0);
    const json result = ending.object();
    for (const char* field :
         {"steps", "loss", "eval_before", "eval_after", "tokens_per_second", "peak_memory_bytes", "adapter"})
        CHECK(result.contains(field));
    CHECK(result["steps"] == 4);
    CHECK(keys(result["eval_before"]) == kEvaluationKeys);
    CHECK(keys(result["eval_after"]) == kEvaluationKeys);
    CHECK(result["tokens_per_second"].get<double>() > 0);
    CHECK(result["peak_memory_bytes"].get<int64_t>() > 0);
    const double before = result["eval_before"]["loss"], after = result["eval_after"]["loss"];
    CHECK(before == Approx(desk.numbers["losses"][0].get<double>()).epsilon(1e-5));
    CHECK(after < before);

    std::istringstream log(test::read(fs::path(desk.out) / "log.jsonl"));
    std::vector<json> steps;
    for (std::string line; std::getline(log, line);)
        if (const json entry = json::parse(line); entry.contains("grad_norm")) steps.push_back(entry);
    REQUIRE(steps.size() == 4);
    CHECK(steps[0]["loss"].get<double>() == Approx(desk.numbers["losses"][0].get<double>()).epsilon(1e-5));
    CHECK(steps[0]["grad_norm"].get<double>() == Approx(desk.numbers["grad_norms"][0].get<double>()).epsilon(1e-4));
    CHECK(steps[3]["loss"].get<double>() == Approx(result["loss"].get<double>()).epsilon(1e-8));  // nine digits

    // The adapter is all there is to keep. The file holds fp32 and the batches are the same.
    const json again = desk.run("eval", {"--adapter", result["adapter"]}).object();
    CHECK(again["loss"].get<double>() == Approx(after).epsilon(1e-6));
}

// Operands are rounded by up to 2^-9 of themselves, independently, in some ten products a layer: the losses, before and
// after four small steps, are off by less than that.
TEST_CASE("--dtype bf16 trains on the CPU, near the losses of fp32", "[program][golden]") {
    const Desk desk;
    const auto train = [&](const char* dtype) {
        const Ending ending = desk.train_golden({"--device", "cpu", "--dtype", dtype, "--max-steps", "4"});
        INFO(ending.err);
        REQUIRE(ending.status == 0);
        CHECK(mentions(ending.err, std::string(dtype) + " GFLOP/s"));  // the peak it measured
        CHECK(mentions(ending.err, "no instructions for it") ==
              (std::string(dtype) == "bf16" && !cpu::has_bf16_instructions()));
        return ending.object();
    };
    const json exact = train("fp32"), rounded = train("bf16");
    for (const char* when : {"eval_before", "eval_after"}) {
        const double expected = exact[when]["loss"], loss = rounded[when]["loss"];
        CHECK(loss == Approx(expected).epsilon(0.002));
        CHECK(loss != expected);
    }
}

TEST_CASE("--show-tokens leaves one JSON object too", "[program]") {
    const Desk desk;
    const Ending ending = desk.run("train", {"--show-tokens", "5"});
    CHECK(ending.object() == json{{"shown", 3}});
    CHECK(mentions(ending.err, "example 0: "));
}

TEST_CASE("training from an adapter keeps its rank, alpha and targets", "[program]") {
    const Desk desk;
    const json config = llmc::read_json(fs::path(desk.adapter) / "adapter_config.json");
    const auto train = [&](const std::vector<std::string>& more) {
        std::vector<std::string> all = {"--method", "fp",    "--adapter", desk.adapter,   "--max-steps",
                                        "1",        "--out", desk.out,    "--eval-split", "0"};
        all.insert(all.end(), more.begin(), more.end());
        return desk.run("train", all);
    };
    for (const auto& [name, value] :
         {std::pair("--lora-r", "3"), std::pair("--lora-alpha", "0.5"), std::pair("--target-modules", "q_proj")}) {
        const Ending refused = train({name, value});
        CHECK(refused.status == 2);
        CHECK(mentions(refused.err, std::string(name) + " " + value + ": the adapter " + desk.adapter + " has "));
        CHECK(desk.files() == std::set<std::string>{desk.data});
    }
    const Ending agreed = train({"--lora-r", config["r"].dump()});
    INFO(agreed.err);
    REQUIRE(agreed.status == 0);
    CHECK(mentions(test::read(fs::path(desk.out) / "config.toml"), "lora-r = " + config["r"].dump() + "\n"));
    const Ending untold = train({});
    REQUIRE(untold.status == 0);
    const std::string toml = test::read(fs::path(desk.out) / "config.toml");
    CHECK(mentions(toml, "lora-r = " + config["r"].dump() + "\n"));
    CHECK(mentions(toml, "lora-alpha = " + config["lora_alpha"].dump() + "\n"));
    REQUIRE(config["target_modules"].size() == 7);
    CHECK(mentions(toml, "target-modules = \"all-linear\"\n"));
}

TEST_CASE("--target-modules takes names with blanks, names of some layers, and expressions", "[program]") {
    const Desk desk;
    const auto train = [&](const std::string& targets) {
        return desk.run("train", {"--method", "fp", "--target-modules", targets, "--max-steps", "1", "--out", desk.out,
                                  "--eval-split", "0"});
    };
    const auto tensors = [&] {
        std::set<std::string> modules;
        const llmc::SafetensorsFile file(fs::path(desk.out) / "adapter/adapter_model.safetensors");
        for (const auto& [name, _] : file.tensors())
            modules.insert(name.substr(name.find(".layers.") + 8, name.find(".lora_") - name.find(".layers.") - 8));
        return modules;
    };
    const std::tuple<const char*, json, std::set<std::string>> cases[] = {
        {"q_proj, up_proj ",
         {"q_proj", "up_proj"},
         {"0.self_attn.q_proj", "0.mlp.up_proj", "1.self_attn.q_proj", "1.mlp.up_proj"}},
        {"layers.1.mlp.up_proj", {"layers.1.mlp.up_proj"}, {"1.mlp.up_proj"}},
        {R"(.*\.1\..*(q|v)_proj)", R"(.*\.1\..*(q|v)_proj)", {"1.self_attn.q_proj", "1.self_attn.v_proj"}},
    };
    for (const auto& [targets, written, modules] : cases) {
        INFO(targets);
        const Ending ending = train(targets);
        INFO(ending.err);
        REQUIRE(ending.status == 0);
        CHECK(tensors() == modules);
        const json config = llmc::read_json(fs::path(desk.out) / "adapter/adapter_config.json");
        CHECK(config["target_modules"] == written);
        fs::remove_all(desk.out);
    }
    for (const auto& [targets, why] :
         {std::pair("q_proj,c_attn", "--target-modules: this model has no linear layer c_attn"),
          std::pair("(q_proj", "--target-modules: the regular expression (q_proj is not valid"),
          std::pair(".*mlp.*", "--target-modules also matches model.layers.0.mlp"),
          std::pair(" , ", "--target-modules names no layer")}) {
        const Ending refused = train(targets);
        CHECK(refused.status == 2);
        CHECK(mentions(refused.err, why));
    }
}

TEST_CASE("training goes on from an adapter of some layers, and eval tells what it leaves out", "[program]") {
    const Desk desk;
    const std::string adapter = desk.folder / "some";
    fs::copy(golden::directory("adapters") / "ranks", adapter);
    json config = llmc::read_json(fs::path(adapter) / "adapter_config.json");
    config["layers_to_transform"] = {1};
    test::write_text(fs::path(adapter) / "adapter_config.json", config.dump());
    const Ending ending = desk.run(
        "train", {"--method", "fp", "--adapter", adapter, "--max-steps", "1", "--out", desk.out, "--eval-split", "0"});
    INFO(ending.err);
    REQUIRE(ending.status == 0);
    CHECK(mentions(ending.err, "the tensors of model.layers.0.self_attn.q_proj and 3 more are not used"));
    CHECK(mentions(test::read(fs::path(desk.out) / "config.toml"),
                   "target-modules = \"down_proj,q_proj,up_proj,v_proj\"\n"));
    const json written = llmc::read_json(fs::path(desk.out) / "adapter/adapter_config.json");
    CHECK(written["layers_to_transform"] == json{1});
    CHECK(written["rank_pattern"] == config["rank_pattern"]);
    const Ending evaluated = desk.run("eval", {"--adapter", desk.out + "/adapter"});
    CHECK(evaluated.status == 0);
    CHECK_FALSE(mentions(evaluated.err, "are not used"));
}

TEST_CASE("the end of a training run names the next commands, and with --quiet only the result", "[program]") {
    const Desk desk;
    std::vector<std::string> arguments = {"train",  "--model",      desk.model, "--data", desk.data, "--method",
                                          "fp",     "--max-steps",  "1",        "--out",  desk.out,  "--template",
                                          "chatml", "--eval-split", "0"};
    const std::string with = "--model " + desk.model + " --adapter " + desk.out + "/adapter";
    const Ending told = desk.run(arguments);
    INFO(told.err);
    REQUIRE(told.status == 0);
    CHECK(mentions(told.out, "generate " + with + " --prompt"));
    CHECK(mentions(told.out, "eval " + with + " --data FILE"));
    CHECK(mentions(told.out, "merge " + with + " --out DIR"));
    CHECK(mentions(told.out, "\n1 step, "));
    arguments.push_back("--quiet");
    const Ending quiet = desk.run(arguments);
    CHECK(quiet.out.starts_with("1 step, "));
    CHECK(quiet.out.ends_with("the adapter is in " + desk.out + "/adapter\n"));
    CHECK(std::ranges::count(quiet.out, '\n') == 2);
}

TEST_CASE("a run whose files cannot be read reports that and nothing else", "[program]") {
    const Desk desk;
    const auto refused = [&](std::vector<std::string> more) {
        std::vector<std::string> arguments = {"train", "--data", desk.data, "--out", desk.out};
        if (more.front() != "--model") arguments.insert(arguments.end(), {"--model", desk.model});
        arguments.insert(arguments.end(), more.begin(), more.end());
        const Ending ending = desk.run(arguments);
        CHECK(ending.status == 1);
        CHECK(mentions(ending.err, "no_such"));
        CHECK_FALSE(mentions(ending.out, "learning-rate"));
        return ending;
    };
    const std::string missing = desk.folder / "no_such.jsonl";
    CHECK(refused({"--model", desk.folder / "no_such"}).out.empty());
    CHECK(refused({"--data", missing}).out.empty());
    refused({"--eval-data", missing});
    refused({"--adapter", missing});
    refused({"--outliers", missing});
    refused({"--cal-data", missing});
    const auto shown = [&](const std::vector<std::string>& more) {
        std::vector<std::string> words = {"train",  "--model",  desk.model, "--data",      desk.data, "--out",
                                          desk.out, "--method", "fp",       "--max-steps", "1"};
        words.insert(words.end(), more.begin(), more.end());
        return desk.run(words).out;
    };
    CHECK_FALSE(mentions(shown({}), "learning-rate"));  // its default
    CHECK(mentions(shown({"--learning-rate", "0.001"}), "learning-rate"));
    CHECK(mentions(shown({"--verbose"}), "learning-rate"));
}

TEST_CASE("long phases begin with a line of their own if there is no live line", "[program]") {
    const Desk desk;
    const std::vector<std::string> evaluate = {
        "eval", "--model", desk.model, "--data", desk.data, "--cal-data", desk.data, "--outlier-max-ratio", "0.1"};
    const Ending ending = desk.run(evaluate);
    INFO(ending.err);
    REQUIRE(ending.status == 0);
    const size_t calibrating = ending.out.find("calibrating on 3 examples ...\n"),
                 evaluating = ending.out.find("evaluating 3 examples ...\n"), loss = ending.out.find("loss ");
    CHECK(calibrating < evaluating);
    CHECK(evaluating < loss);
    CHECK(loss != std::string::npos);
    std::vector<std::string> quietly = evaluate;
    quietly.push_back("--quiet");
    CHECK_FALSE(mentions(desk.run(quietly).out, "..."));
}

TEST_CASE("a conversation takes the model's own template; without one it is an error", "[program]") {
    const Desk desk;
    const std::string data = desk.folder.write(
        "chat.jsonl",
        R"({"messages": [{"role": "user", "content": "Spell AB"}, {"role": "assistant", "content": "A B"}]})");
    const fs::path model = desk.folder / "model";
    fs::copy("dev/demo/model", model);
    const auto run = [&](std::vector<std::string> more) {
        std::vector<std::string> arguments = {"train",       "--model",  model,   "--data", data,
                                              "--max-steps", "1",        "--out", desk.out, "--eval-split",
                                              "0",           "--method", "fp"};
        arguments.insert(arguments.end(), more.begin(), more.end());
        return desk.run(arguments);
    };
    const Ending without = run({});
    CHECK(without.status == 1);
    CHECK(mentions(without.err, data + ":1: a conversation needs a chat template. "));
    CHECK(mentions(without.err, "Set --template to one of"));
    const auto shown = [&](const std::vector<std::string>& more) {
        const std::string out = run(more).out;
        REQUIRE(mentions(out, "example 0: "));
        return out.substr(out.find("example 0: "));
    };
    const std::string named = shown({"--template", "chatml", "--show-tokens", "1"});
    json config = llmc::read_json(model / "tokenizer_config.json");
    config["chat_template"] =
        "{% for m in messages %}{{ '' if loop.first else '\n' }}<|im_start|>{{ m.role + '\n' + m.content "
        "}}<|im_end|>{% endfor %}";
    desk.folder.write("model/tokenizer_config.json", config.dump());
    CHECK(shown({"--show-tokens", "1"}) == named);
    const Ending trained = run({});
    INFO(trained.err);
    CHECK(trained.status == 0);
    CHECK(mentions(trained.out, "/adapter --prompt"));
}

TEST_CASE("the answers that are shown do not depend on how long the training examples are", "[program][demo]") {
    const Desk desk;
    // Untrained, the demo's model answers this in more tokens than the true answer has.
    const std::string asked =
        desk.folder.write("eval.jsonl", R"({"input": "Which letter is at the start of DEAI? ", "output": "D"})");
    std::string answers[2];
    for (const bool lengthy : {false, true}) {
        std::string source;
        for (int i = 0; i < (lengthy ? 60 : 1); ++i) source += "a b ";
        const std::string data = desk.folder.write("train.jsonl", json{{"input", source}, {"output", "b"}}.dump());
        const Ending ending = desk.run({"train", "--data", data, "--eval-data", asked, "--max-steps", "1", "--method",
                                        "fp", "--quiet", "--out", desk.out});
        INFO(ending.err);
        REQUIRE(ending.status == 0);
        const size_t before = ending.out.find("  before  ");
        REQUIRE(before != std::string::npos);
        answers[lengthy] = ending.out.substr(before, ending.out.find('\n', before) - before);
    }
    CHECK(answers[0] == answers[1]);
    CHECK(answers[0].size() > std::string("  before  They").size());
}

TEST_CASE("--plan prints the memory and writes nothing", "[program]") {
    const Desk desk;
    for (const std::string verb : {"train", "info"}) {
        const Ending ending = desk.run(verb, {"--plan", "--out", desk.out});
        INFO(ending.err);
        CHECK(ending.status == 0);
        CHECK(ending.object()["total_bytes"].get<int64_t>() > 0);
        CHECK(desk.files() == std::set<std::string>{desk.data});
    }
}
