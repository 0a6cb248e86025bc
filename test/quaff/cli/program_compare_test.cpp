// A whole comparison, as a user starts it. Its processes are this program, which is train_quaff when it is given a
// verb.
#include <sstream>
#include <utility>

#include "llmc/system/child_process.h"
#include "test/quaff/program.h"

using namespace program;

namespace {

// A few examples of the demo, which has an outlier channel or two to find.
std::string some_lines(const char* file, int count) {
    std::ifstream in(fs::path("dev/demo") / file);
    std::string text;
    for (std::string line; count > 0 && std::getline(in, line); --count) text += line + "\n";
    return text;
}

}  // namespace

TEST_CASE("compare evaluates, trains and evaluates every method, and goes on where it was stopped", "[program][demo]") {
    const Desk desk;
    const std::string data = desk.folder.write("train.jsonl", some_lines("train.jsonl", 24));
    const std::string held_out = desk.folder.write("eval.jsonl", some_lines("eval.jsonl", 6));
    const std::vector<std::string> options = {"compare", "--methods",    "fp,quaff", "--data",    data, "--eval-data",
                                              held_out,  "--max-steps",  "3",        "--seeds",   "1",  "--lora-r",
                                              "4",       "--batch-size", "4",        "--threads", "1",  "--device",
                                              "cpu",     "--out",        desk.out};
    const auto run = [&](const std::vector<std::string>& more) {
        std::vector<std::string> all = options;
        all.insert(all.end(), more.begin(), more.end());
        return desk.run(all);
    };
    const Ending ending = run({"--json"});
    INFO(ending.err);
    REQUIRE(ending.status == 0);
    const json result = ending.object();
    REQUIRE(result["methods"].size() == 2);
    const json &full = result["methods"][0], &quantised = result["methods"][1];
    CHECK(full["before"]["kl_to_fp"] == 0);
    CHECK(full["after"]["kl_to_fp"] == 0);
    for (const char* stage : {"before", "after"}) {
        CHECK(quantised[stage]["kl_to_fp"] > 0);
        CHECK(quantised[stage]["kl_to_fp"] < 0.1);
        CHECK(quantised[stage]["examples"] == 6);
    }
    for (const json& method : result["methods"]) {
        CHECK(method["before"]["loss"] != method["after"]["loss"]);
        CHECK(method["seconds_per_step"] > 0);
        CHECK(method["planned_memory_bytes"] > 0);
        CHECK(method["peak_memory_bytes"] > 0);
    }
    CHECK(json(llmc::read_json(fs::path(desk.out) / "compare.json")) == result);
    CHECK(mentions(ending.err, "after 3 steps\n"));
    for (const char* file : {"compare.md", "compare.svg", "logs/quaff-seed0.log", "runs/fp-seed0/adapter"})
        CHECK(fs::exists(fs::path(desk.out) / file));

    // A command of the list gives what the comparison has.
    const std::string first = result["commands"][1];
    std::istringstream words(first.substr(first.find(' ') + 1));
    std::vector<std::string> arguments;
    for (std::string word; words >> word;) arguments.push_back(word);
    CHECK(desk.run(arguments).object() == quantised["before"]);

    CHECK(mentions(run({}).err, "--resume goes on with it"));
    CHECK(mentions(run({"--resume", "--learning-rate", "0.1"}).err, "was begun without --learning-rate"));
    // As if it had been stopped before the last evaluation.
    json earlier = result;
    earlier["methods"][1]["runs"][0].erase("after");
    earlier["commands"].erase(5);
    std::ofstream(fs::path(desk.out) / "compare.json") << earlier.dump();
    const Ending resumed = run({"--resume", "--json"});
    INFO(resumed.err);
    REQUIRE(resumed.status == 0);
    CHECK(mentions(resumed.err, "6/6  the evaluation of quaff after training with seed 0"));
    CHECK_FALSE(mentions(resumed.err, "5/6"));
    CHECK(resumed.object() == result);
}

TEST_CASE("compare tells why one of its processes failed", "[program]") {
    const Desk desk;
    const std::string broken = desk.folder / "broken.jsonl";
    std::ofstream(broken) << "{\"source\": \n";
    const Ending lost = desk.run({"compare", "--model", desk.model, "--data", broken, "--out", desk.out});
    CHECK(lost.status == 1);
    CHECK(mentions(lost.err, "train_quaff: the evaluation of "));
    CHECK(mentions(lost.err, "broken.jsonl"));
    CHECK(mentions(lost.err, "-before.log"));
    // What is not there at all is told before anything is begun.
    const Ending absent =
        desk.run({"compare", "--model", desk.model, "--data", desk.folder / "none.jsonl", "--out", desk.out + "3"});
    CHECK(absent.status == 1);
    CHECK(mentions(absent.err, "none.jsonl"));
    CHECK_FALSE(fs::exists(desk.out + "3"));
    const Ending wrong = desk.run({"compare", "--model", desk.model, "--data", desk.data, "--methods", "fp",
                                   "--eval-data", desk.data, "--target-modules", "nothing", "--out", desk.out + "2"});
    CHECK(wrong.status == 2);
    CHECK(mentions(wrong.err, "the training of fp with seed 0 failed: --target-modules"));
    CHECK(desk.run({"compare", "--methods", "gptq"}).status == 2);
}

TEST_CASE("compare runs the program that it is, even if another has taken its place", "[program]") {
    const Desk desk;
    const fs::path program = desk.folder / "train_quaff", other = desk.folder / "other";
    fs::copy_file(fs::read_symlink("/proc/self/exe"), program);
    desk.folder.write("other", "#!/bin/sh\nexit 9\n");
    fs::permissions(other, fs::perms::owner_all);
    bool replaced = false;
    const auto replace = [&] {
        if (!std::exchange(replaced, true)) fs::rename(other, program);
        return false;
    };
    const llmc::ChildFiles files = {desk.folder / "out.txt", desk.folder / "err.txt"};
    const llmc::ChildEnd end =
        llmc::run_child({program,     "compare",   "--model",  desk.model, "--data", desk.data,     "--eval-data",
                         desk.data,   "--methods", "fp",       "--seeds",  "1",      "--max-steps", "2",
                         "--threads", "1",         "--device", "cpu",      "--out",  desk.out},
                        files, replace);
    INFO(test::read(files.err));
    CHECK(end.succeeded());
    CHECK(replaced);
}

TEST_CASE("eval --eval-split evaluates what training holds out, with channels found on the rest", "[program]") {
    const Desk desk;
    const std::string data = desk.folder.write("train.jsonl", some_lines("train.jsonl", 30));
    const std::vector<std::string> shared = {"--model", "dev/demo/model", "--data", data,       "--eval-split",
                                             "0.2",     "--seed",         "3",      "--method", "quaff",
                                             "--json"};
    const auto run = [&](const std::string& verb, const std::vector<std::string>& more) {
        std::vector<std::string> all = shared;
        all.insert(all.begin(), verb);
        all.insert(all.end(), more.begin(), more.end());
        return desk.run(all);
    };
    const Ending trained = run("train", {"--max-steps", "1", "--save-steps", "0", "--out", desk.out});
    const Ending evaluated = run("eval", {});
    INFO(evaluated.err);
    CHECK(evaluated.object()["examples"] == 6);
    CHECK(evaluated.object() == trained.object()["eval_before"]);
    CHECK_FALSE(mentions(evaluated.err, "are found on --data itself"));
    // A run's config.toml names no evaluation data, but how they were made.
    const Ending by_config = desk.run({"eval", "--config", fs::path(desk.out) / "config.toml", "--json"});
    CHECK(by_config.object() == evaluated.object());
}
