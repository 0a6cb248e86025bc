#include "quaff/run/compare/compare.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "llmc/core/error.h"
#include "llmc/core/median.h"
#include "llmc/io/file_io.h"
#include "llmc/io/json.h"
#include "llmc/io/ordered_json.h"
#include "llmc/system/child_process.h"
#include "llmc/system/signals.h"
#include "quaff/files/checkpoint_folder.h"
#include "quaff/run/compare/chart.h"
#include "quaff/run/compare/step_log.h"
#include "quaff/run/compare/table.h"
#include "quaff/run/evaluation.h"

namespace quaff {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;
using Kind = CompareJob::Kind;

constexpr int kWrongUsage = 2, kStopped = 130;  // exit statuses of the program

struct StoppedBySignal {};

// "quaff-seed0"
std::string run_name(const std::string& method, int64_t seed) {
    return concat(method, "-seed", seed);
}

std::string log_name(const CompareJob& job) {
    switch (job.kind) {
        case Kind::evaluate_before:
            return job.method + "-before";
        case Kind::train:
            return run_name(job.method, job.seed);
        case Kind::evaluate_after:
            return run_name(job.method, job.seed) + "-after";
    }
    return "";
}

// "the training of quaff with seed 0"
std::string title_of(const CompareJob& job) {
    switch (job.kind) {
        case Kind::evaluate_before:
            return concat("the evaluation of ", job.method, " before training");
        case Kind::train:
            return concat("the training of ", job.method, " with seed ", job.seed);
        case Kind::evaluate_after:
            return concat("the evaluation of ", job.method, " after training with seed ", job.seed);
    }
    return "";
}

// What a process said last, without the name that begins a message.
std::string last_words(const fs::path& log) {
    std::string text = read_file(log);
    text.erase(text.find_last_not_of(" \n") + 1);
    std::string line = text.substr(text.find_last_of('\n') + 1);
    constexpr std::string_view kName = "train_quaff: ";
    if (line.starts_with(kName)) line.erase(0, kName.size());
    return line;
}

// Whether the run in `folder` can go on. Otherwise it is trained anew.
bool has_intact_checkpoint(const fs::path& folder) {
    try {
        newest_intact_checkpoint(folder, [](const std::string&) {});
        return true;
    } catch (const Error&) {
        return false;
    }
}

bool has_results(const Comparison& comparison) {
    return std::ranges::any_of(comparison.methods, [](const MethodResult& result) { return !result.before.empty(); });
}

class Comparer {
  public:
    Comparer(const CompareOptions& options, Terminal& terminal) : options_(options), terminal_(terminal) {}

    // Takes up an earlier comparison, or begins one.
    void begin() {
        const fs::path file = path("compare.json");
        if (options_.resume && !fs::exists(file))
            throw UsageError(concat("--resume: ", options_.out, " holds no compare.json to go on with"));
        if (!fs::exists(file) && fs::exists(options_.out) && !fs::is_empty(options_.out))
            throw UsageError(concat(options_.out, " holds other files; name another --out"));
        make_directories(path("logs"));
        lock_.emplace(options_.out);
        if (!options_.resume && fs::exists(file) && has_results(read(file)))
            throw UsageError(
                concat(options_.out, " holds a comparison already: --resume goes on with it; or name another --out"));
        comparison_ = options_.resume ? earlier(file) : options_.begin;
        write();
    }

    void run() {
        count_jobs();
        for (MethodResult& result : comparison_.methods)
            if (result.before.empty()) {
                result.before = figures_of(run_job({Kind::evaluate_before, result.method, comparison_.first_seed, ""}));
                keep(result.before);
            }
        for (int64_t round = 0; round < comparison_.seeds; ++round)
            for (size_t i = 0; i < comparison_.methods.size(); ++i)
                run_round(comparison_.methods[(i + static_cast<size_t>(round)) % comparison_.methods.size()],
                          comparison_.first_seed + round);
    }

    const Comparison& comparison() const { return comparison_; }

  private:
    fs::path path(const std::string& name) const { return fs::path(options_.out) / name; }

    static Comparison read(const fs::path& file) {
        return comparison_of(parse_ordered_json(read_file(file), file.string()), file.string());
    }

    Comparison earlier(const fs::path& file) const {
        Comparison earlier = read(file);
        const OptionTexts &was = earlier.options, &is = options_.begin.options;
        for (const auto& [name, value] : is) {
            const auto found = std::ranges::find(was, name, &OptionTexts::value_type::first);
            if (found == was.end() || found->second != value)
                throw UsageError(
                    concat("--resume: ", options_.out, " was begun ",
                           found == was.end() ? "without --" + name : "with --" + name + " " + found->second,
                           "; give the same options, or name another --out"));
        }
        for (const auto& [name, value] : was)
            if (std::ranges::find(is, name, &OptionTexts::value_type::first) == is.end())
                throw UsageError(concat("--resume: ", options_.out, " was begun with --", name, " ", value,
                                        "; give the same options, or name another --out"));
        for (const auto& [name, fingerprint] : options_.begin.inputs)
            if (std::ranges::find(earlier.inputs, std::pair(name, fingerprint)) == earlier.inputs.end())
                throw UsageError(concat("--resume: ", name, " is not what it was when ", options_.out,
                                        " was begun; restore it, or name another --out"));
        return earlier;
    }

    // What is yet to be done for one method and seed.
    void run_round(MethodResult& result, int64_t seed) {
        const std::string folder = (path("runs") / run_name(result.method, seed)).string();
        auto run = std::ranges::find(result.runs, seed, &TrainedRun::seed);
        if (run == result.runs.end()) {
            const ordered_json trained =
                run_job({Kind::train, result.method, seed, folder, has_intact_checkpoint(folder)});
            TrainedRun made;
            made.seed = seed;
            made.step_seconds = steady_step_seconds(fs::path(folder) / "log.jsonl");
            made.planned_memory = trained.at("planned_memory_bytes");
            made.peak_memory = trained.at("peak_memory_bytes");
            terminal_.line(
                concat("  ", format("%.4g", median(made.step_seconds)), " s a step, ", format_bytes(made.peak_memory)));
            result.runs.push_back(made);
            run = std::prev(result.runs.end());
            write();
        }
        if (!comparison_.trains() || !run->after.empty()) return;
        run->after = figures_of(run_job({Kind::evaluate_after, result.method, seed, folder}));
        keep(run->after);
    }

    void keep(const Figures& figures) {
        terminal_.line(concat("  KL to fp ", format_divergence(figure(figures, "kl_to_fp").value_or(0)), ", loss ",
                              format("%.4f", figure(figures, "loss").value_or(0))));
        write();
    }

    void write() const {
        write_file_atomically(path("compare.json"), dump_pretty(to_json(comparison_)) + "\n");
        write_file_atomically(path("compare.md"), comparison_markdown(comparison_));
        write_file_atomically(path("compare.svg"), comparison_chart(comparison_));
    }

    void count_jobs() {
        const int64_t rounds = comparison_.seeds * (comparison_.trains() ? 2 : 1);
        total_ = std::ssize(comparison_.methods) * (1 + rounds);
        for (const MethodResult& result : comparison_.methods) {
            done_ += result.before.empty() ? 0 : 1;
            for (const TrainedRun& run : result.runs) done_ += run.after.empty() ? 1 : 2;
        }
    }

    // As it is shown.
    std::vector<std::string> command_of(const CompareJob& job) const {
        std::vector<std::string> command = options_.arguments(job);
        command.insert(command.begin(), options_.shown);
        return command;
    }

    // The command of a training that went on, as it was begun.
    std::string first_command(CompareJob job) const {
        job.resumes = false;
        return shell_line(command_of(job));
    }

    // Runs one process and returns its result. Throws Error with its last words if it failed.
    ordered_json run_job(const CompareJob& job) {
        if (signals_.requested()) throw StoppedBySignal{};
        std::vector<std::string> command = command_of(job);
        const std::string line = shell_line(command);
        terminal_.line(concat(++done_, "/", total_, "  ", title_of(job)));
        const ChildFiles files = {path("logs/" + log_name(job) + ".json"), path("logs/" + log_name(job) + ".log")};
        write_file_atomically(files.err, "$ " + line + "\n");
        command.front() = options_.program;
        const ChildEnd end = run_child(command, files, [this] { return signals_.requested(); });
        if (signals_.requested() && (end.signal != 0 || end.status == kStopped)) throw StoppedBySignal{};
        if (!end.succeeded()) fail_job(job, end, files.err);
        comparison_.commands.push_back(job.resumes ? first_command(job) : line);
        return result_of(job, files.out);
    }

    [[noreturn]] static void fail_job(const CompareJob& job, const ChildEnd& end, const fs::path& log) {
        const std::string how = end.signal != 0
                                    ? concat("was ended by signal ", end.signal,
                                             end.signal == SIGKILL ? ", as the system does when memory runs out" : "")
                                    : concat("failed: ", last_words(log));
        const std::string message = concat(title_of(job), " ", how, " (its log is ", log.string());
        if (end.status == kWrongUsage) throw UsageError(message + ")");  // which stays wrong
        throw Error(message + "; what is done is kept, and --resume goes on)");
    }

    static ordered_json result_of(const CompareJob& job, const fs::path& out) {
        try {
            return ordered_json::parse(read_file(out));
        } catch (const ordered_json::exception&) {
            fail(title_of(job), " left no JSON object in ", out.string());
        }
    }

    const CompareOptions& options_;
    Terminal& terminal_;
    StopSignals signals_;
    std::optional<DirectoryLock> lock_;
    Comparison comparison_;
    int64_t done_ = 0, total_ = 0;  // processes
};

}  // namespace

Comparison compare(const CompareOptions& options, Terminal& terminal, bool& stopped) {
    stopped = false;
    Comparer comparer(options, terminal);
    comparer.begin();
    try {
        comparer.run();
    } catch (const StoppedBySignal&) {
        stopped = true;
    }
    return comparer.comparison();
}

}  // namespace quaff
