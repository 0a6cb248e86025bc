#include "quaff/cli/compare_commands.h"

#include <algorithm>
#include <filesystem>
#include <set>

#include "llmc/core/error.h"
#include "llmc/core/nearest_name.h"
#include "llmc/core/words.h"
#include "llmc/io/text_input.h"
#include "quaff/cli/option_table.h"
#include "quaff/run/method_settings.h"

namespace quaff::cli {

using namespace llmc;

namespace {

using Words = std::vector<std::string>;
using Kind = CompareJob::Kind;

constexpr const char* kAllMethods = "all";
constexpr int64_t kTimedSteps = 8;  // of a training that is only timed

void append(Words& words, const Words& more) {
    words.insert(words.end(), more.begin(), more.end());
}

Words words_of_files(const char* option, const std::vector<std::string>& files) {
    Words words;
    for (const std::string& file : files) append(words, {option, file});
    return words;
}

// An option as words of a command line; none for a switch that is off.
Words words_of(const Row& row) {
    const std::string name = concat("--", row.name);
    if (is_switch(row)) return value_text(row) == "true" ? Words{name} : Words();
    if (const auto* texts = std::get_if<Texts>(&row.value)) return words_of_files(name.c_str(), *texts->value);
    return {name, value_text(row)};
}

// The chosen options that a verb takes, but those in `except` and those that every command line has in its own way.
Words chosen_options(const CommandLine& line, Verbs verb, const std::set<std::string>& except) {
    const std::set<std::string> own = {"model", "data", "eval-data", "eval-split", "seed", "max-steps", "out"};
    CommandLine copy = line;
    Words words;
    for (const Row& row : option_table(copy))
        if (line.was_given(row.name) && (row.used_by & verb) && row.kept != Kept::transient &&
            !own.contains(row.name) && !except.contains(row.name))
            append(words, words_of(row));
    return words;
}

// Steps of each training, as Comparison has them.
int64_t steps_of(const CommandLine& line) {
    if (line.was_given("max-steps")) return line.options.training.max_steps;
    return line.was_given("epochs") ? -1 : 0;
}

// Options whose place a method's own settings take.
std::set<std::string> settled_by(const std::string& name) {
    const Method method = *parse_method(name);
    std::set<std::string> options;
    if (has_own_channels(method)) {
        options.insert("outliers");
        options.insert(std::begin(kOptionsOfChoosing), std::end(kOptionsOfChoosing));
    }
    if (method == Method::quaff_paper) options.insert({"scale-momentum", "scale-strength", "rotation", "outlier-term"});
    return options;
}

// These, and options that are for the other methods.
std::set<std::string> not_for(const std::string& name) {
    const Method method = *parse_method(name);
    std::set<std::string> others = settled_by(name);
    if (method != Method::quaff) others.insert({"scale-strength", "rotation", "outlier-term"});
    if (!linear_method(method).has_scales()) others.insert("scale-momentum");
    if (!has_threshold(method)) others.insert("int8-threshold");
    if (!has_smoothing(method)) others.insert("smooth-alpha");
    return others;
}

// Whether a method finds its outlier channels on --data: it has some, and no option for it says where they come from.
bool calibrates_on_data(const CommandLine& line, const std::string& method) {
    if (!linear_method(*parse_method(method)).outliers || line.was_given("cal-data")) return false;
    return !line.was_given("outliers") || not_for(method).contains("outliers");
}

Words eval_split(const CommandLine& line) {
    return {"--eval-split", concat(line.options.data.eval_split)};
}

Words evaluation(const CommandLine& line, const CompareJob& job) {
    const DataOptions& data = line.options.data;
    const bool splits = data.eval_files.empty(), before = job.kind == Kind::evaluate_before;
    Words words = {"eval", "--json", "--reference"};
    if (before)
        append(words, {"--method", job.method});
    else
        append(words, {"--adapter", (std::filesystem::path(job.folder) / "adapter").string()});
    append(words, {"--model", line.options.model.name()});
    append(words, words_of_files("--data", splits ? data.files : data.eval_files));
    if (splits) append(words, eval_split(line));
    if (before && !splits && calibrates_on_data(line, job.method)) append(words, {"--cal-data", data.files.front()});
    append(words, {"--seed", std::to_string(job.seed)});
    std::set<std::string> left_out = not_for(job.method);
    if (!before) {  // an adapter has its own channels and settings
        left_out.insert({"outliers", "cal-data", "max-cal-samples", "rotation", "outlier-term", "scale-strength",
                         "int8-threshold", "smooth-alpha"});
        left_out.insert(std::begin(kOptionsOfChoosing), std::end(kOptionsOfChoosing));
    }
    append(words, chosen_options(line, kEval, left_out));
    return words;
}

Words training(const CommandLine& line, const CompareJob& job) {
    if (job.resumes) return {"train", "--json", "--resume", "--out", job.folder};
    const DataOptions& data = line.options.data;
    Words words = {"train", "--json", "--method", job.method, "--model", line.options.model.name()};
    append(words, words_of_files("--data", data.files));
    if (data.eval_files.empty()) {
        append(words, eval_split(line));
        append(words, {"--metrics", "none", "--exact-match", "off"});
    } else {
        append(words, {"--eval-split", "0"});
    }
    append(words, {"--seed", std::to_string(job.seed)});
    const int64_t steps = steps_of(line);
    append(words, {"--max-steps", std::to_string(steps == 0 ? kTimedSteps : steps)});
    for (const char* name : {"eval-steps", "save-steps"})
        if (!line.was_given(name)) append(words, {concat("--", name), "0"});
    std::set<std::string> left_out = not_for(job.method);
    left_out.insert({"metrics", "exact-match", "max-answer-tokens", "window", "stride"});
    append(words, chosen_options(line, kTrain, left_out));
    append(words, {"--out", job.folder});
    return words;
}

}  // namespace

std::vector<std::string> methods_of(const std::string& names) {
    std::vector<std::string> known, methods;
    for (const Named<Method>& method : kMethodNames) known.emplace_back(method.name);
    if (names == kAllMethods) return known;
    for (size_t begin = 0; begin <= names.size();) {
        const size_t end = std::min(names.find(',', begin), names.size());
        const std::string name = names.substr(begin, end - begin);
        if (std::ranges::find(known, name) == known.end())
            throw UsageError(concat("--methods: there is no method '", name, "'",
                                    did_you_mean(nearest_name(name, known)), " (the methods are ",
                                    join(known, ", ", " and "), ")"));
        if (std::ranges::find(methods, name) != methods.end())
            throw UsageError(concat("--methods names ", name, " twice"));
        methods.push_back(name);
        begin = end + 1;
    }
    return methods;
}

std::vector<std::string> heeded_by_none(const CommandLine& line) {
    const std::vector<std::string> methods = methods_of(line.methods);
    std::vector<std::string> names;
    for (const std::string& name : not_for(methods.front()))
        if (line.was_given(name) && !settled_by(methods.front()).contains(name) &&  // of those left_out() tells
            std::ranges::all_of(methods, [&](const std::string& method) { return not_for(method).contains(name); }))
            names.push_back(name);
    return names;
}

std::vector<std::string> left_out(const CommandLine& line, const std::string& method) {
    std::vector<std::string> names;
    for (const std::string& name : settled_by(method))
        if (line.was_given(name)) names.push_back(name);
    return names;
}

Comparison comparison_of(const CommandLine& line) {
    Comparison comparison;
    comparison.model = line.options.model.name();
    comparison.steps = steps_of(line);
    comparison.seeds = line.seeds;
    comparison.first_seed = line.options.compute.seed;
    for (const std::string& method : methods_of(line.methods)) comparison.methods.push_back({method, {}, {}});
    const std::set<std::string> always = {"model", "data", "eval-data", "methods", "seeds"};
    CommandLine copy = line;
    for (const Row& row : option_table(copy))
        if ((row.used_by & kCompare) && row.kept != Kept::transient && std::string(row.name) != "out" &&
            (line.was_given(row.name) || always.contains(row.name)) && !value_text(row).empty())
            comparison.options.emplace_back(row.name, value_text(row));
    return comparison;
}

std::vector<std::string> arguments_of(const CommandLine& line, const CompareJob& job) {
    return job.kind == Kind::train ? training(line, job) : evaluation(line, job);
}

void check_comparison(const CommandLine& line) {
    methods_of(line.methods);
    const Options& o = line.options;
    const std::string& resume = o.training.resume;
    if (!resume.empty() && resume != kNewestCheckpoint)
        throw UsageError("compare --resume takes no folder: --out names the comparison to go on with");
    if (std::ranges::find(o.data.files, kStandardInput) != o.data.files.end() ||
        std::ranges::find(o.data.eval_files, kStandardInput) != o.data.eval_files.end() ||
        o.outliers.data == kStandardInput)
        throw UsageError("compare reads its data once for each method: give files, not standard input (-)");
    if (o.data.files.size() < 2 || o.data.eval_files.empty()) return;
    for (const std::string& method : methods_of(line.methods))
        if (calibrates_on_data(line, method))
            throw UsageError(concat("compare calibrates ", method,
                                    " on --data, which can be one file only beside --eval-data: join the files, or "
                                    "give --cal-data",
                                    not_for(method).contains("outliers") ? "" : " or --outliers"));
}

}  // namespace quaff::cli
