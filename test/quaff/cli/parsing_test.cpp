#include "quaff/cli/parsing.h"

#include "test/catch.h"
#include "test/quaff/cli/command_line.h"

using namespace quaff;
using namespace quaff::cli;
using namespace command_line;
using llmc::concat;

namespace {

std::string config_of(const CommandLine& line) {
    return record_of(line, line.options).config;
}

}  // namespace

using Files = std::vector<std::string>;

TEST_CASE("no verb trains, and the defaults are the documented ones", "[options]") {
    const CommandLine o = parse({"--model", "m", "--data", "d.jsonl"});
    CHECK(o.verb == Verb::train);
    CHECK(o.options.compute.method == Method::quaff);
    CHECK(o.options.out == "out/m-quaff");
    CHECK(o.options.data.batch_size == 16);
    CHECK(o.options.training.gradient_accumulation_steps == 1);
    CHECK(o.options.training.learning_rate == 2e-4);
    CHECK(o.options.training.lr_scheduler == llmc::Schedule::constant);
    CHECK(o.options.training.warmup_ratio == 0.03);
    CHECK(o.options.training.max_grad_norm == 0.3);
    CHECK(o.options.training.adam_eps == 1e-8);
    CHECK_FALSE(o.options.lora.r);  // 16, or the adapter's
    CHECK(o.options.lora.dropout == 0.1);
    CHECK(o.options.outliers.strategy == OutlierStrategy::token_max);
    CHECK(o.options.outliers.max_ratio == "0.02");
    CHECK(o.options.outliers.max_samples == 512);
    CHECK(o.options.training.save_total_limit == 2);
    CHECK(o.options.data.eval_split == 0.1);
    CHECK(o.options.training.max_steps == -1);
    CHECK(o.options.data.eval_files.empty());
}

TEST_CASE("options are written --name value, --name=value and with _ for -", "[options]") {
    CHECK(parse({"train", "--model", "m", "--data", "d", "--batch-size", "3"}).options.data.batch_size == 3);
    CHECK(parse({"train", "--model=m", "--data=d", "--batch_size=4"}).options.data.batch_size == 4);
    CHECK(parse({"--model", "m", "--data", "d", "--max-steps", "-1"}).options.training.max_steps == -1);
    CHECK(parse({"generate", "--prompt", "[a, b] -- \"c\""}).options.generation.prompt == "[a, b] -- \"c\"");
}

TEST_CASE("a text may be empty, other values may not", "[options]") {
    for (const std::vector<std::string>& prompt : {std::vector<std::string>{"--prompt", ""}, {"--prompt="}}) {
        std::vector<std::string> arguments = {"generate"};
        arguments.insert(arguments.end(), prompt.begin(), prompt.end());
        const CommandLine o = parse(arguments);
        CHECK(o.was_given("prompt"));
        CHECK(o.options.generation.prompt.empty());
    }
    const CommandLine o = parse({"tokenize", "--text=", "--quiet"});
    CHECK(o.was_given("text"));
    CHECK(o.text.empty());
    CHECK(o.quiet);
    CHECK(parse({"tokenize", "--text", "--text="}).text == "--text=");
    for (const char* name : {"model", "data", "out", "target-modules", "seed", "learning-rate", "device"}) {
        CAPTURE(name);
        CHECK_FALSE(complaint({concat("--", name, "=")}).empty());
        CHECK_FALSE(complaint({concat("--", name), ""}).empty());
    }
    CHECK(complaint({"--out="}) == "--out needs a value");
}

TEST_CASE("an unknown verb or option names the nearest one", "[options]") {
    CHECK(mentions(complaint({"trian"}), "did you mean train?"));
    CHECK(mentions(complaint({"--learning-rat", "1"}), "did you mean --learning-rate?"));
    CHECK(mentions(complaint({"eval", "--bacth-size=1"}), "did you mean --batch-size?"));
    CHECK(mentions(complaint({"--lr", "1e-4"}), "here it is --learning-rate"));
    CHECK(mentions(complaint({"--xyzzy"}), "there is no option --xyzzy"));
    CHECK_FALSE(mentions(complaint({"--xyzzy"}), "did you mean"));
    CHECK(mentions(complaint({"--model", "m", "eval"}), "unexpected argument 'eval'"));
}

TEST_CASE("every value is checked against its range", "[options]") {
    const std::string number = GENERATE("0", "-1", "nan", "inf", "-inf", "", "x", "1e-4x", "1,5");
    for (const char* name : {"--learning-rate", "--lora-alpha", "--adam-eps", "--outlier-threshold"}) {
        CAPTURE(name, number);
        CHECK(mentions(complaint({name, number}), std::string(name) + " must be a number above 0"));
    }
    CHECK(mentions(complaint({"--epochs", number}), "--epochs must be a number above 0"));
    for (const char* name : {"--batch-size", "--gradient-accumulation-steps", "--lora-r", "--source-max-len"}) {
        CAPTURE(name, number);
        CHECK(mentions(complaint({name, number}), std::string(name) + " must be a whole number from 1 to "));
    }
    CHECK(mentions(complaint({"--batch-size", "1.5"}), "whole number"));
    CHECK(mentions(complaint({"--gradient-accumulation-steps", "9223372036854775807"}), "from 1 to"));
    CHECK(mentions(complaint({"--lora-r", "4294967312"}), "from 1 to 65536"));
    CHECK(mentions(complaint({"--epochs", "1e300"}), "--epochs"));
    CHECK(mentions(complaint({"--seed", "99999999999999999999"}), "--seed"));
    for (const char* name : {"--lora-dropout", "--adam-beta1", "--adam-beta2", "--eval-split"})
        CHECK(mentions(complaint({name, "1"}), "from 0 to below 1"));
    for (const char* name : {"--scale-momentum", "--warmup-ratio"})
        CHECK(mentions(complaint({name, "1.1"}), "from 0 to 1"));
    CHECK(mentions(complaint({"--device", "tpu"}), "auto, cpu or cuda"));
    CHECK(mentions(complaint({"--grad-bits", "4"}), "8 or 16"));
    CHECK(mentions(complaint({"--outlier-strategy", "kurtosis"}), "token_max, mean_times, static, zscore or top_abs"));
    CHECK(mentions(complaint({"--lr-scheduler", "exponential"}), "constant, constant_with_warmup, linear, cosine, "));
    CHECK(mentions(complaint({"--max-steps", "0"}), "--max-steps"));
    CHECK(mentions(complaint({"--out", "--json"}), "--out needs a value"));
    CHECK(complaint({"--seed"}) == "--seed needs a value");
    CHECK(complaint({"--outlier-max-ratio", "down_proj=0.05,o_proj=0.02,0.003"}).empty());
    for (const char* ratio : {"2", "-0.1", "nan", "down_proj=", "=0.1", "0.1,", "down_proj=x"}) {
        CAPTURE(ratio);
        CHECK(mentions(complaint({"--outlier-max-ratio", ratio}), "--outlier-max-ratio"));
    }
}

TEST_CASE("eval and generate leave the method to the adapter unless told", "[options]") {
    CHECK(parse({"eval", "--model", "m", "--data", "d"}).options.compute.method == std::nullopt);
    CHECK(parse({"generate", "--model", "m", "--prompt", "p", "--outliers", "o"}).options.compute.method ==
          std::nullopt);
    CHECK(parse({"calibrate", "--model", "m", "--data", "d"}).options.compute.method == Method::quaff);
    CHECK(parse({"eval", "--model", "m", "--data", "d", "--method", "fp"}).options.compute.method == Method::fp);
}

TEST_CASE("--resume takes a folder or none", "[options]") {
    CHECK(parse({"--model", "m", "--data", "d"}).options.training.resume.empty());
    CHECK(parse({"--model", "m", "--data", "d", "--resume"}).options.training.resume == kNewestCheckpoint);
    CHECK(parse({"--resume", "--model", "m", "--data", "d", "--quiet"}).options.training.resume == kNewestCheckpoint);
}

TEST_CASE("--resume names a checkpoint when the folder holds state.json, else a run", "[options]") {
    const std::filesystem::path run =
        std::filesystem::path(write_file("runs/a/checkpoint-3/state.json", "{}")).parent_path().parent_path();
    write_file("runs/a/config.toml", "model = \"m\"\ndata = \"d\"\nlora-r = 4\nout = \"elsewhere\"\n");
    for (const std::string named : {"checkpoint-3", "checkpoint-3/", ".", ""}) {
        const CommandLine o = parse({"--resume", (run / named).string()});
        CHECK(o.options.training.resume == (run / named).string());
        CHECK(o.options.out == run.string());
        CHECK(o.options.lora.r == 4);
    }
    const CommandLine o = parse({"--resume", run.string(), "--out", "b"});
    CHECK(o.options.out == "b");
    CHECK(o.options.lora.r == 4);  // of the run that is continued
}

TEST_CASE("the command line overrides --config, which overrides the defaults", "[options]") {
    const std::string path = write_file("run.toml",
                                        "# a comment\n"
                                        "model = \"a # b, c\"   # another\n"
                                        "data = 'd\\e.jsonl'\n"
                                        "batch_size = 3\n"
                                        "learning-rate = 1e-3\n"
                                        "quiet = true\n"
                                        "target-modules = [\"q_proj\", 'v_proj']\n");
    const CommandLine o = parse({"--config", path, "--batch-size", "5"});
    CHECK(o.options.model.folder == "a # b, c");
    CHECK(o.options.data.files == Files{"d\\e.jsonl"});
    CHECK(o.options.data.batch_size == 5);
    CHECK(o.options.training.learning_rate == 1e-3);
    CHECK(o.quiet);
    CHECK(o.options.lora.target_modules == "q_proj,v_proj");
}

TEST_CASE("a config file's errors name file and line", "[options]") {
    CHECK(mentions(complaint({"--config", write_file("a.toml", "seed = 1\nlearning-rat = 2\n")}), "a.toml line 2"));
    CHECK(mentions(complaint({"--config", write_file("b.toml", "learning-rat = 2\n")}), "did you mean learning-rate?"));
    CHECK(mentions(complaint({"--config", write_file("c.toml", "batch-size = 0\n")}), "c.toml line 1: --batch-size"));
    CHECK(mentions(complaint({"--config", write_file("d.toml", "[train]\n")}), "tables"));
    CHECK(mentions(complaint({"--config", write_file("e.toml", "seed 1\n")}), "no ="));
    CHECK(mentions(complaint({"--config", write_file("f.toml", "model = \"a\n")}), "closing"));
    CHECK(mentions(complaint({"--config", write_file("g.toml", "seed = 1\nseed = 2\n")}), "already set in line 1"));
    CHECK(mentions(complaint({"--config", write_file("h.toml", "model = a b\n")}), "quotes"));
    CHECK(mentions(complaint({"--config", "no/such/file.toml"}), "no/such/file.toml"));
}

TEST_CASE("the resolved options can be read as a config file", "[options]") {
    const std::vector<std::string> arguments = {
        "--model", "a \"b\" \\ #c",     "--data",      "d", "--learning-rate",  "0.00123",       "--lora-alpha",
        "0.1",     "--train-on-source", "--max-steps", "7", "--target-modules", "q_proj,v_proj", "--seed",
        "42"};
    const CommandLine o = parse(arguments);
    const CommandLine again = parse({"--config", write_file("out.toml", config_of(o))});
    CHECK(config_of(again) == config_of(o));
    CHECK(again.options.model.folder == o.options.model.folder);
    CHECK(again.options.training.learning_rate == o.options.training.learning_rate);
    CHECK(again.options.lora.alpha == o.options.lora.alpha);
    CHECK(again.options.data.train_on_source);
    CHECK(again.options.out == o.options.out);
}

TEST_CASE("a resumed run is continued with its own options", "[options]") {
    const std::string config = write_file("config.toml", "model = \"m\"\ndata = \"d\"\nlora-r = 4\nmax-steps = 60\n");
    const std::string out = std::filesystem::path(config).parent_path().string();
    const CommandLine o = parse({"--resume", "--out", out, "--max-steps", "100"});
    CHECK(o.options.model.folder == "m");
    CHECK(o.options.lora.r == 4);
    CHECK(o.options.training.max_steps == 100);
}

TEST_CASE("info PATH --plan and --show-tokens are about PATH", "[options]") {
    namespace fs = std::filesystem;
    const std::string model = fs::path(write_file("a_model/config.json", "{}")).parent_path().string();
    const std::string adapter = fs::path(write_file("an_adapter/adapter_config.json", "{}")).parent_path().string();
    const std::string outliers = write_file("some_outliers.json", R"({"channels": {}})");
    const std::string other = write_file("other.json", "{}"), folder = fs::path(other).parent_path().string();
    const std::vector<std::vector<std::string>> asked = {{"--plan"}, {"--show-tokens", "2"}};
    for (const std::vector<std::string>& what : asked) {
        CAPTURE(what);
        const auto with = [&](const std::string& path, std::vector<std::string> more = {}) {
            more.insert(more.begin(), {"info", path, "--data", "d"});
            more.insert(more.end(), what.begin(), what.end());
            return more;
        };
        CHECK(parse(with(model)).options.model.folder == model);
        CHECK_FALSE(parse(with(model)).options.model.is_demo);
        CHECK(parse(with(model, {"--model", model + "/"})).options.model.folder == model);
        CHECK(complaint(with(model, {"--model", "m"})) ==
              "info " + model + " and --model m contradict each other: give one of them");
        // A file is overridden as it is by the command line.
        const std::string file = write_file("l.toml", "model = \"m\"\nlora-r = 4\n");
        const CommandLine configured = parse(with(model, {"--config", file}));
        CHECK(configured.options.model.folder == model);
        CHECK(configured.options.lora.r == 4);

        CHECK(parse(with(adapter)).options.model.adapter == adapter);
        CHECK(parse(with(adapter, {"--model", "m"})).options.model.folder == "m");
        CHECK(mentions(complaint(with(adapter, {"--adapter", "a"})), "--adapter a contradict"));
        write_file("an_adapter/state.json", "{}");
        CHECK(parse(with(adapter)).options.model.adapter == adapter);  // a checkpoint is one
        CHECK(parse(with(outliers)).options.outliers.file == outliers);
        CHECK(mentions(complaint(with(outliers, {"--outliers", "o"})), "--outliers o contradict"));

        CHECK(complaint(with("/nonexistent")) == "/nonexistent: does not exist");
        CHECK(complaint(with(other)) == other + ": is not an outlier file; it has no \"channels\"");
        CHECK(mentions(complaint(with(folder)), folder + ": is neither a model"));
    }
    // The demo's examples are the demo's here as well, and info alone looks at PATH later.
    CHECK(mentions(complaint({"info", model, "--plan"}), "--model needs --data"));
    CHECK(complaint({"info", "/nonexistent"}).empty());
}

TEST_CASE("--data and --eval-data take several files, in their order", "[options]") {
    const CommandLine line =
        parse({"--model", "m", "--data", "a.jsonl", "--data=b, c.csv", "--eval-data", "e", "--data", "-"});
    CHECK(line.options.data.files == Files{"a.jsonl", "b, c.csv", "-"});
    CHECK(line.options.data.eval_files == Files{"e"});
    // They come back from a run's config.toml.
    const std::string config = record_of(line, line.options).config;
    CHECK(mentions(config, "data = [\"a.jsonl\", \"b, c.csv\", \"-\"]\neval-data = \"e\"\n"));
    const std::string file = write_file("several.toml", config);
    CHECK(parse({"--config", file}).options.data.files == line.options.data.files);
    CHECK(parse({"--config", file, "--data", "x"}).options.data.files == Files{"x"});
    CHECK(mentions(complaint({"--model", "m", "--data", "a", "b"}), "unexpected argument 'b'"));
    CHECK(complaint({"--model", "m", "--data", "a", "--data"}) == "--data needs a value");
    CHECK(complaint({"--model", "m", "--data", "a", "--data", ""}) == "--data needs a value (FILE)");
    CHECK(complaint({"--model", "m", "--data", "-", "--eval-data", "-"}) ==
          "standard input (-) can be read once only, but it is named several times");
}

TEST_CASE("an option that takes one value is not given two", "[options]") {
    CHECK(complaint({"--seed", "1", "--seed", "2"}) == "--seed is given 2 times: 1 and 2; keep one of them");
    CHECK(complaint({"--seed", "1", "--seed=1", "--seed", "3"}) ==
          "--seed is given 3 times: 1, 1 and 3; keep one of them");
    CHECK(complaint({"--lora-r", "8", "--lora_r", "8"}) == "--lora-r is given 2 times: 8 and 8; keep one of them");
    CHECK(complaint({"--quiet", "--quiet"}) == "--quiet is given 2 times; keep one of them");
    CHECK(complaint({"--template", "none", "--template", "auto"}) ==
          "--template is given 2 times: none and auto; keep one of them");
}

TEST_CASE("--columns names columns, and says what is wrong with it", "[options]") {
    CHECK(parse({"--model", "m", "--data", "d", "--columns", "input=q, output=r"}).options.data.columns ==
          "input=q, output=r");
    CHECK(complaint({"--model", "m", "--data", "d", "--columns", "q"}) ==
          "--columns: \"q\" is no pair of names; write input=question,output=reply");
    CHECK(mentions(complaint({"--model", "m", "--data", "d", "--columns", "source=q"}),
                   "--columns: there is no column source to be read; there are answer, "));
}

TEST_CASE("lists may have blanks behind their commas", "[options]") {
    CHECK(complaint({"--outlier-max-ratio", "down_proj=0.05, o_proj=0.02, 0.003"}) == "");
    CHECK(parse({"--target-modules", "q_proj, v_proj"}).options.lora.target_modules == "q_proj, v_proj");
}

TEST_CASE("eval evaluates one file and warns of another", "[options]") {
    const CommandLine both = parse({"eval", "--model", "m", "--data", "a", "--eval-data", "b"});
    CHECK(both.options.data.files == Files{"a"});
    CHECK(both.unused == std::vector<std::string>{"eval-data beside --data"});
    const auto quietly = [](const std::vector<std::string>& arguments) {
        const CommandLine o = parse(arguments);
        CHECK(o.unused.empty());
        return o.options.data.files;
    };
    CHECK(quietly({"eval", "--model", "m", "--data", "a"}) == Files{"a"});
    CHECK(quietly({"eval", "--model", "m", "--eval-data", "b"}) == Files{"b"});
    // A training run's file: its evaluation data, unless the command line names what to evaluate on.
    const std::string run = write_file("n.toml", "model = \"m\"\ndata = \"t\"\neval-data = \"e\"\n"),
                      split = write_file("o.toml", "model = \"m\"\ndata = \"t\"\n");
    CHECK(quietly({"eval", "--config", run}) == Files{"e"});
    CHECK(quietly({"eval", "--config", run, "--data", "a"}) == Files{"a"});
    CHECK(quietly({"eval", "--config", run, "--eval-data", "b"}) == Files{"b"});
    CHECK(quietly({"eval", "--config", split, "--eval-data", "b"}) == Files{"b"});
}

TEST_CASE("options that differ from the defaults are shown, or all", "[options]") {
    const auto shown = [](const std::vector<std::string>& arguments) {
        const CommandLine line = parse(arguments);
        std::string names;
        for (const auto& [name, value] : record_of(line, line.options).shown) names += name + " ";
        return names;
    };
    const std::vector<std::string> run = {"--model", "m", "--data", "d", "--lora-r", "4", "--seed", "0"};
    CHECK(shown(run) == "model data out lora-r method ");
    std::vector<std::string> all = run;
    all.emplace_back("--verbose");
    CHECK(shown(all).find(" weight-decay ") != std::string::npos);
    // A resumed run's are in its config.toml.
    const std::vector<std::string> resumed = {"--resume", "--out", "o", "--max-steps", "9"};
    CHECK(shown(resumed) == "out max-steps ");

    // What ranks compare does not depend on what is shown.
    const auto all_of = [](const std::vector<std::string>& arguments) {
        const CommandLine line = parse(arguments);
        return record_of(line, line.options).all;
    };
    CHECK(all_of(run) == all_of(all));
    const auto compared = all_of(resumed);
    CHECK(std::ranges::count(compared, std::pair<std::string, std::string>("eval-steps", "100")) == 1);
    CHECK(compared.size() > all_of(run).size() / 2);
}
