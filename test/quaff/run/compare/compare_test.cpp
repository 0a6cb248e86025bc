// How a comparison goes on from process to process. A shell stands in for the program.
#include "quaff/run/compare/compare.h"

#include <csignal>
#include <nlohmann/json.hpp>

#include "llmc/io/file_io.h"
#include "llmc/io/json.h"
#include "quaff/files/checkpoint_folder.h"
#include "test/catch.h"
#include "test/files.h"

using namespace quaff;
using Kind = CompareJob::Kind;
using Catch::Matchers::ContainsSubstring;

namespace {

struct Bench {
    test::TempDir folder;
    CompareOptions options;
    std::vector<std::string> jobs;  // that were asked for
    std::string failing;            // one of them: fails
    std::string stopping;           // one of them: a signal comes while it is prepared
    int status = 1;                 // of the failing one

    explicit Bench(int64_t steps = 5, int64_t seeds = 2) {
        options.begin.model = "models/small";
        options.begin.steps = steps;
        options.begin.seeds = seeds;
        options.begin.first_seed = 7;
        options.begin.options = {{"methods", "fp,quaff"}, {"seeds", std::to_string(seeds)}};
        options.begin.methods = {{"fp", {}, {}}, {"quaff", {}, {}}};
        options.out = folder / "out";
        options.program = "/bin/sh";
        options.shown = "./train_quaff";
        options.arguments = [this](const CompareJob& job) { return script(job); };
    }

    std::vector<std::string> script(const CompareJob& job) {
        const char* const kinds[] = {"before", "train", "after"};
        const std::string name =
            concat(kinds[static_cast<int>(job.kind)], " ", job.method, " ", job.seed, job.resumes ? " resumed" : "");
        jobs.push_back(name);
        if (name == stopping) {
            raise(SIGTERM);
            return {"-c", "sleep 600"};
        }
        if (name == failing)
            return {"-c", concat("echo loading >&2; echo 'train_quaff: there is no memory left' >&2; exit ", status)};
        if (job.kind != Kind::train) return {"-c", "echo '{\"loss\": 1.5, \"kl_to_fp\": 0.002}'"};
        return {"-c",
                concat("mkdir -p ", job.folder, "; echo '{\"step_seconds\": 0.25}' > ", job.folder,
                       "/log.jsonl; echo '{\"planned_memory_bytes\": 100, \"peak_memory_bytes\": 200}' # ", name)};
    }

    // The jobs that were asked for; `stopped` says whether a signal ended them.
    std::vector<std::string> run(bool* stopped = nullptr) {
        jobs.clear();
        Terminal terminal(nullptr, /*quiet=*/true);
        bool was_stopped = false;
        compare(options, terminal, was_stopped);
        if (stopped) *stopped = was_stopped;
        return jobs;
    }
    std::string error() {
        try {
            run();
        } catch (const Error& error) {
            return error.what();
        }
        return "";
    }
    nlohmann::json result() const { return read_json(folder / "out/compare.json"); }
};

const std::vector<std::string> kAllJobs = {"before fp 7",   "before quaff 7", "train fp 7",    "after fp 7",
                                           "train quaff 7", "after quaff 7",  "train quaff 8", "after quaff 8",
                                           "train fp 8",    "after fp 8"};

}  // namespace

TEST_CASE("every method is evaluated, trained with every seed in turn, and evaluated again", "[compare]") {
    Bench bench;
    CHECK(bench.run() == kAllJobs);
    const nlohmann::json result = bench.result();
    for (const nlohmann::json& method : result["methods"]) {
        CHECK(method["before"] == nlohmann::json{{"loss", 1.5}, {"kl_to_fp", 0.002}});
        CHECK(method["after"] == method["before"]);
        CHECK(method["seconds_per_step"] == 0.25);
        CHECK(method["planned_memory_bytes"] == 100);
        CHECK(method["peak_memory_bytes"] == 200);
        CHECK(method["runs"].size() == 2);
    }
    CHECK(result["commands"].size() == kAllJobs.size());
    CHECK_THAT(result["commands"][0], ContainsSubstring("./train_quaff -c 'echo "));
    CHECK_THAT(test::read(bench.folder / "out/logs/quaff-seed8-after.log"), ContainsSubstring("$ ./train_quaff -c"));
    CHECK_THAT(test::read(bench.folder / "out/compare.md"), ContainsSubstring("| quaff | 2e-3 | 1.5000 |"));
    CHECK_THAT(test::read(bench.folder / "out/compare.svg"), ContainsSubstring("<circle"));

    Bench timed(/*steps=*/0, /*seeds=*/1);
    CHECK(timed.run() == std::vector<std::string>{"before fp 7", "before quaff 7", "train fp 7", "train quaff 7"});
    CHECK_FALSE(timed.result()["methods"][0].contains("after"));
}

TEST_CASE("a comparison that was stopped goes on where it was", "[compare]") {
    for (size_t at = 0; at < kAllJobs.size(); ++at) {
        Bench bench;
        bench.stopping = kAllJobs[at];
        CAPTURE(bench.stopping);
        bool stopped = false;
        CHECK(bench.run(&stopped).size() == at + 1);
        CHECK(stopped);
        bench.stopping = "";
        bench.options.resume = true;
        CHECK(bench.run(&stopped) == std::vector(kAllJobs.begin() + static_cast<int64_t>(at), kAllJobs.end()));
        CHECK_FALSE(stopped);
        CHECK(bench.result()["methods"][1]["runs"].size() == 2);
        CHECK(bench.result()["commands"].size() == kAllJobs.size());
        CHECK(bench.run().empty());  // all is done
    }
}

TEST_CASE("a training that was stopped after a checkpoint goes on from it", "[compare]") {
    Bench bench;
    bench.failing = "train quaff 7";
    CHECK_FALSE(bench.error().empty());
    const std::filesystem::path run = bench.folder / "out/runs/quaff-seed7";
    write_checkpoint(run, 3, 0,
                     [](const std::filesystem::path& folder) { write_file_atomically(folder / "state.json", "{}"); });
    bench.failing = "";
    bench.options.resume = true;
    SECTION("from an intact one") {
        CHECK(bench.run().front() == "train quaff 7 resumed");
        // The commands are those that make the comparison from its beginning.
        CHECK(bench.result()["commands"].size() == kAllJobs.size());
        CHECK_THAT(bench.result()["commands"].dump(), !ContainsSubstring("resumed"));
    }
    SECTION("but not from a torn one") {
        write_file_atomically(run / "checkpoint-3/state.json", "{");
        CHECK(bench.run().front() == "train quaff 7");
    }
}

TEST_CASE("a comparison without results does not stand in the way of another", "[compare]") {
    Bench bench;
    bench.failing = kAllJobs.front();
    CHECK_FALSE(bench.error().empty());
    CHECK_THAT(test::read(bench.folder / "out/compare.md"), ContainsSubstring("| quaff | - | - |"));
    bench.failing = "";
    bench.options.begin.options.emplace_back("lora-r", "4");
    CHECK(bench.run() == kAllJobs);
    CHECK(bench.result()["options"]["lora-r"] == "4");
}

TEST_CASE("a comparison that somebody else works on is left alone", "[compare]") {
    Bench bench;
    std::filesystem::create_directories(bench.folder / "out");
    const DirectoryLock other(bench.folder / "out");
    bench.folder.write("out/compare.json", "half a fi");  // as it may be while the other writes
    for (const bool resume : {false, true}) {
        bench.options.resume = resume;
        CHECK_THAT(bench.error(), ContainsSubstring("another run"));
    }
}

TEST_CASE("a process that fails is named with its last words, and what was done is kept", "[compare]") {
    Bench bench;
    bench.failing = "train quaff 8";
    const std::string error = bench.error();
    CHECK_THAT(error, Catch::Matchers::StartsWith(
                          "the training of quaff with seed 8 failed: there is no memory left (its log is "));
    CHECK_THAT(error, ContainsSubstring("out/logs/quaff-seed8.log"));
    CHECK(bench.result()["methods"][1]["runs"].size() == 1);
    bench.options.resume = true;
    bench.status = 2;
    CHECK_THROWS_AS(bench.run(), UsageError);
    bench.options.arguments = [](const CompareJob&) { return std::vector<std::string>{"-c", "kill -KILL $$"}; };
    CHECK_THAT(bench.error(), ContainsSubstring("was ended by signal 9, as the system does when memory runs out"));
    bench.options.arguments = [](const CompareJob&) { return std::vector<std::string>{"-c", "echo nothing"}; };
    CHECK_THAT(bench.error(), ContainsSubstring("left no JSON object in "));
}

TEST_CASE("an earlier comparison is neither overwritten nor continued with other options", "[compare]") {
    Bench bench;
    bench.options.resume = true;
    CHECK_THAT(bench.error(), ContainsSubstring("holds no compare.json to go on with"));
    bench.options.resume = false;
    bench.run();
    CHECK_THAT(bench.error(), ContainsSubstring("holds a comparison already: --resume goes on with it"));
    bench.options.resume = true;
    const OptionTexts same = bench.options.begin.options;
    bench.options.begin.options[1].second = "3";
    CHECK_THAT(bench.error(), ContainsSubstring("was begun with --seeds 2; give the same options"));
    bench.options.begin.options = same;
    bench.options.begin.options.emplace_back("lora-r", "4");
    CHECK_THAT(bench.error(), ContainsSubstring("was begun without --lora-r"));
    bench.options.begin.options = {same[0]};
    CHECK_THAT(bench.error(), ContainsSubstring("was begun with --seeds 2"));
    CHECK_THROWS_AS(bench.run(), UsageError);
}

TEST_CASE("a comparison goes on with the same model and data alone", "[compare]") {
    Bench bench;
    bench.options.begin.inputs = {{"model", "a1"}, {"eval.jsonl", "b2"}};
    bench.run();
    bench.options.resume = true;
    CHECK(bench.error().empty());
    bench.options.begin.inputs[1].second = "c3";
    CHECK_THAT(bench.error(), ContainsSubstring("--resume: eval.jsonl is not what it was when"));
}

TEST_CASE("a folder with other files is left as it is", "[compare]") {
    Bench bench;
    std::filesystem::create_directory(bench.folder / "out");
    bench.folder.write("out/compare.md", "my notes");
    CHECK_THAT(bench.error(), ContainsSubstring("out holds other files; name another --out"));
    CHECK(test::read(bench.folder / "out/compare.md") == "my notes");
}
