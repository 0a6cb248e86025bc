#include "quaff/cli/parsing.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <numeric>

#include "llmc/core/error.h"
#include "llmc/io/path.h"
#include "llmc/io/toml.h"
#include "quaff/cli/option_table.h"
#include "quaff/files/checkpoint_folder.h"
#include "quaff/files/info.h"
#include "quaff/files/outliers.h"

namespace quaff::cli {
namespace {

using namespace llmc;

// ---- help ----------------------------------------------------------------------------------------------------------

// One option or operand; its description begins in a column of its own.
std::string help_line(std::string left, const std::string& description) {
    left.insert(0, "  ");
    left += left.size() < 32 ? std::string(32 - left.size(), ' ') : "\n" + std::string(32, ' ');
    return concat(left, description, "\n");
}

std::string help_text(const VerbInfo& verb) {
    const bool trains = verb.verb == Verb::train, informs = verb.verb == Verb::info;
    std::string help = concat("train_quaff ", trains ? "[train]" : verb.name, informs ? " [PATH]" : "",
                              " [options]: ", verb.does, "\n");
    if (trains) {
        help += "\nverbs (train_quaff VERB --help tells more):\n";
        for (const VerbInfo& other : kVerbs)
            help += concat("  ", other.name, std::string(11 - std::string(other.name).size(), ' '), other.does, "\n");
    }
    if (informs)
        help += "\n" + help_line("PATH",
                                 "a model, adapter, checkpoint or outlier file; else --adapter, --outliers or --model");
    help += "\noptions (_ may stand for -)\n";
    CommandLine defaults;
    defaults.verb = verb.verb;
    std::string heading;
    for (const Row& row : option_table(defaults)) {
        if (!(row.used_by & only(verb.verb))) continue;
        if (heading != row.group) help += concat("\n", row.group, ":\n");
        heading = row.group;
        const std::string value = value_text(row);
        const bool shown = !value.empty() && !std::holds_alternative<Switch>(row.value);
        help += help_line(concat("--", row.name, type_text(row)), concat(row.help, shown ? " [" + value + "]" : ""));
    }
    if (informs) help += "\nwith --plan also what a training run takes: train_quaff train --help\n";
    return help;
}

// What only --method quaff looks at.
constexpr const char* kQuaffOnly[] = {"outliers", "outlier-strategy", "outlier-threshold", "outlier-max-ratio",
                                      "cal-data", "max-cal-samples",  "scale-momentum",    "grad-bits"};

// ---- parsing -------------------------------------------------------------------------------------------------------

std::vector<std::string> option_names(const std::vector<Row>& table) {
    std::vector<std::string> names;
    for (const Row& row : table) names.push_back(row.name);
    return names;
}

// The option that was probably meant by a name that is none, or "".
std::string nearest_option(const std::string& name, const std::vector<Row>& table) {
    if (name == "lr") return "learning-rate";  // what everybody calls it, and near no name by its letters
    return nearest_name(name, option_names(table));
}

// The table of a verb: an option that it makes no use of is checked like the others and then has no effect.
std::vector<Row> table_of(const VerbInfo& verb, CommandLine& line, CommandLine& unheeded) {
    std::vector<Row> table = option_table(line), others = option_table(unheeded);
    for (size_t i = 0; i < table.size(); ++i)
        if (!(table[i].used_by & verb.takes())) table[i] = others[i];
    return table;
}

bool is_text(const Row& row) {
    return std::holds_alternative<Text>(row.value) || std::holds_alternative<OptionalText>(row.value) ||
           std::holds_alternative<Choice>(row.value);
}

std::string did_you_mean(const std::string& near, const char* dashes) {
    return near.empty() ? "" : concat("; did you mean ", dashes, near, "?");
}

void parse_command_line(CommandLine& line, const std::vector<Row>& table, const VerbInfo& verb,
                        std::vector<std::string> arguments) {
    CLI::App app;
    app.set_help_flag();
    app.allow_extras();
    bool help = false, version = false;
    app.add_flag("-h,--help", help);
    app.add_flag("--version", version);
    if (verb.verb == Verb::info) app.add_option("path", line.path);
    // CLI11 only takes the line apart: every value arrives as text, so that all of them are checked in one place.
    std::vector<std::string> texts(table.size());
    std::vector<CLI::Option*> parsed;
    for (size_t i = 0; i < table.size(); ++i) {
        const std::string name = table[i].name;
        std::string names = "--" + name, underscored = name;
        std::replace(underscored.begin(), underscored.end(), '-', '_');
        if (underscored != name) names += ",--" + underscored;
        if (std::holds_alternative<Switch>(table[i].value)) {
            parsed.push_back(app.add_flag(names, texts[i]));
        } else {
            parsed.push_back(app.add_option(names, texts[i]));
            if (name == "resume") parsed.back()->expected(0, 1)->default_str(kNewestCheckpoint);
        }
        parsed.back()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    }
    try {
        std::reverse(arguments.begin(), arguments.end());  // CLI11 takes them from the back
        app.parse(arguments);
    } catch (const CLI::ArgumentMismatch& error) {
        const std::string text = error.what();  // "--seed: 1 required TEXT missing"
        throw UsageError(text.substr(0, text.find(':')) + " needs a value");
    } catch (const CLI::ParseError& error) {
        throw UsageError(concat("wrong usage: ", error.what()));
    }
    if (help) line.help = help_text(verb);
    if (version) line.help = "train_quaff 0.1.0\n";
    if (!line.help.empty()) return;
    for (const std::string& argument : app.remaining()) {
        if (!argument.starts_with('-'))
            throw UsageError(concat("unexpected argument '", argument,
                                    "': the verb comes first, and every value follows its --option"));
        std::string name = argument.substr(
            argument.find_first_not_of('-') == std::string::npos ? argument.size() : argument.find_first_not_of('-'));
        name = name.substr(0, name.find('='));
        std::replace(name.begin(), name.end(), '_', '-');
        throw UsageError(concat("there is no option ", argument.substr(0, argument.find('=')),
                                did_you_mean(nearest_option(name, table), "--"), " (train_quaff ", verb.name,
                                " --help lists all)"));
    }
    for (size_t i = 0; i < table.size(); ++i) {
        if (parsed[i]->count() == 0) continue;
        assign(table[i], texts[i], "");
        if (table[i].used_by & verb.takes())
            line.given.insert(table[i].name);
        else
            line.unused.push_back(table[i].name);
    }
}

// Options of a file fill in what was not given before.
void parse_file(CommandLine& line, const std::vector<Row>& table, const std::string& path) {
    std::vector<TomlEntry> entries;
    try {
        entries = read_toml(path);
    } catch (const Error& error) {
        if (path == line.config) throw UsageError(error.what());
        throw;  // a file that the user did not name
    }
    const auto name_of_entry = [](const TomlEntry& entry) {
        std::string name = entry.name;
        std::replace(name.begin(), name.end(), '_', '-');
        return name;
    };
    const std::set<std::string> given_before = line.given;
    const bool has_eval_data = line.was_given("eval-data") || std::ranges::any_of(entries, [&](const TomlEntry& entry) {
                                   return name_of_entry(entry) == "eval-data" && !entry.value.empty();
                               });
    for (const TomlEntry& entry : entries) {
        const std::string name = name_of_entry(entry);
        const std::string where = concat(path, " line ", entry.line);
        const auto row = std::find_if(table.begin(), table.end(), [&](const Row& row) { return row.name == name; });
        if (row == table.end())
            throw UsageError(
                concat(where, ": there is no option ", entry.name, did_you_mean(nearest_option(name, table), "")));
        if (name == "config" || name == "resume")
            throw UsageError(concat(where, ": ", name, " belongs on the command line"));
        if (given_before.contains(name)) continue;
        // What a training run's file calls its data is not what its model is to be evaluated on.
        if (line.verb == Verb::eval && name == "data" && has_eval_data) continue;
        assign(*row, entry.value, where);
        line.given.insert(name);
    }
}

// info PATH with --plan or --show-tokens: the run that is planned, or whose examples are shown, is PATH's.
void take_path(CommandLine& line, const std::set<std::string>& on_command_line) {
    if (line.path.empty() || (!line.plan && line.show_tokens == 0)) return;
    Kind kind{};
    try {
        kind = kind_of(line.path);
    } catch (const Error& error) {
        throw UsageError(error.what());
    }
    const auto take = [&](const char* name, std::string& value) {
        std::error_code ignored;
        if (on_command_line.contains(name) && !std::filesystem::equivalent(value, line.path, ignored))
            throw UsageError(
                concat("info ", line.path, " and --", name, " ", value, " contradict each other: give one of them"));
        value = line.path;
        line.given.insert(name);
    };
    if (kind == Kind::model)
        take("model", line.options.model.folder);
    else if (kind == Kind::outliers)
        take("outliers", line.options.outliers.file);
    else
        take("adapter", line.options.model.adapter);
}

void check_contradictions(const CommandLine& line) {
    const auto refuse = [](const auto&... parts) { throw UsageError(concat(parts...)); };
    const Options& o = line.options;
    if (!o.training.resume.empty() && line.plan)
        refuse("--resume and --plan contradict each other: --plan starts no run");
    if (line.verb == Verb::train && o.training.max_steps == 0)
        refuse("--max-steps must be at least 1, or -1 to let --epochs count");
    if (line.verb != Verb::calibrate && !o.outliers.file.empty() && !o.outliers.data.empty())
        refuse(
            "--outliers names channels that were chosen already and --cal-data would choose them anew: give one of "
            "them");
    if (line.verb == Verb::generate) {
        if (line.was_given("prompt") && !o.generation.prompt_file.empty())
            refuse("--prompt and --prompt-file contradict each other: give one of them");
        if (!line.was_given("prompt") && o.generation.prompt_file.empty())
            refuse("generate needs a --prompt \"TEXT\" or a --prompt-file FILE");
    }
    if (line.verb == Verb::tokenize && line.was_given("text") && line.was_given("data"))
        refuse("--text and --data contradict each other: give one of them");
    if (line.verb == Verb::tokenize && !line.was_given("text") && !line.was_given("data"))
        refuse("tokenize needs a --text \"TEXT\" or a --data FILE");
    if (line.verb == Verb::merge && o.model.adapter.empty())
        refuse("merge needs an --adapter DIR to fold into the weights");
    // Whoever wants to know what a run takes does not want the run.
    if (std::ranges::find(line.unused, "plan") != line.unused.end())
        refuse(info_of(line.verb).name,
               " has no --plan; train_quaff info --plan prints the memory that a training run takes");
    MaxRatio checked(o.outliers.max_ratio);  // throws UsageError
}

// The demo's examples stand in for --data where the demo's model is used, and nowhere else.
void check_data(const CommandLine& line) {
    const Options& o = line.options;
    const bool needs_data = line.verb == Verb::train || line.verb == Verb::eval || line.verb == Verb::calibrate ||
                            (line.verb == Verb::info && (line.plan || line.show_tokens > 0));
    const bool has_data = !o.data.file.empty() || (line.verb == Verb::eval && !o.data.eval_file.empty()) ||
                          (line.verb == Verb::calibrate && !o.outliers.data.empty());
    if (needs_data && !has_data && o.model.folder != ModelOptions().folder)
        throw UsageError("--model needs --data FILE as well: the demo's examples are for the demo's model");
}

// The folder a model is named after: dev/demo/model is the demo's.
std::string model_name(const std::string& model) {
    std::filesystem::path path = std::filesystem::path(model).lexically_normal();
    if (path.filename().empty()) path = path.parent_path();
    if (path.filename() == "model" && path.has_parent_path() && !path.parent_path().filename().empty())
        path = path.parent_path();
    const std::string name = path.filename().string();
    return name.empty() || name == "." || name == ".." ? "model" : name;
}

void resolve_out(CommandLine& line) {
    Options& o = line.options;
    const std::string& resume = o.training.resume;
    if (!resume.empty() && resume != kNewestCheckpoint && !line.was_given("out")) o.out = run_folder(resume).string();
    if (!o.out.empty()) return;
    const char* kind =
        line.verb == Verb::merge ? "merged" : name_in(kMethodNames, o.compute.method.value_or(Method::quaff));
    o.out = concat("out/", model_name(o.model.folder), "-", kind);
}

void resolve_defaults(CommandLine& line) {
    const std::string demo = "dev/demo/";
    Options& o = line.options;
    o.model.is_demo = !line.was_given("model");
    if (line.verb == Verb::eval) {
        if (o.data.file.empty()) o.data.file = o.data.eval_file.empty() ? demo + "eval.jsonl" : o.data.eval_file;
    } else if (line.verb != Verb::tokenize && o.data.file.empty()) {
        o.data.file = demo + "train.jsonl";
        if (o.data.eval_file.empty()) o.data.eval_file = demo + "eval.jsonl";
    }
    // eval and generate look at the adapter first.
    if (!o.compute.method && line.verb != Verb::eval && line.verb != Verb::generate) o.compute.method = Method::quaff;
    resolve_out(line);
}

}  // namespace

CommandLine parse(const std::vector<std::string>& arguments) {
    CommandLine line;
    Options& options = line.options;
    std::vector<std::string> rest = arguments;
    if (!rest.empty() && !rest.front().starts_with('-')) {
        const std::string word = rest.front();
        rest.erase(rest.begin());
        if (word == "help") {
            line.help = help_text(info_of(Verb::train));
            return line;
        }
        const auto* verb = std::ranges::find_if(kVerbs, [&](const VerbInfo& verb) { return verb.name == word; });
        if (verb == std::end(kVerbs)) {
            std::vector<std::string> names;
            for (const VerbInfo& known : kVerbs) names.emplace_back(known.name);
            throw UsageError(concat("there is no verb ", word, did_you_mean(nearest_name(word, names), ""),
                                    " (the verbs are ", join(names, ", ", " and "), ")"));
        }
        line.verb = verb->verb;
    }
    const VerbInfo& verb = info_of(line.verb);
    CommandLine unheeded;
    const std::vector<Row> table = table_of(verb, line, unheeded);
    parse_command_line(line, table, verb, rest);
    if (!line.help.empty()) return line;
    const std::set<std::string> on_command_line = line.given;
    if (!line.config.empty()) parse_file(line, table, line.config);
    take_path(line, on_command_line);

    const std::string& resume = options.training.resume;
    if (!resume.empty()) {
        if (!options.model.adapter.empty())
            throw UsageError(
                "--resume and --adapter contradict each other: a resumed run goes on with its checkpoint's adapter");
        resolve_out(line);
        line.given.insert("out");
        // The run that is continued decides which file it is continued with, also where --out names another folder.
        const bool newest = resume == kNewestCheckpoint;
        const std::string config = (newest ? options.out : run_folder(resume).string()) + "/config.toml";
        if (path_exists(config)) parse_file(line, table, config);
    } else if (options.model.folder == ModelOptions().folder && !line.was_given("data")) {
        const std::string demo = "dev/demo/demo.toml";
        if (path_exists(demo)) parse_file(line, table, demo);
    }
    check_contradictions(line);
    check_data(line);
    resolve_defaults(line);
    if (line.verb == Verb::info && !line.plan)
        for (const Row& row : table)
            if (on_command_line.contains(row.name) && !(row.used_by & kInfo))
                line.unused.push_back(concat(row.name, " without --plan"));
    if (line.verb == Verb::eval && on_command_line.contains("data") && on_command_line.contains("eval-data"))
        line.unused.push_back("eval-data beside --data");
    if (options.compute.method == Method::fp && (line.verb != Verb::info || line.plan))
        for (const char* name : kQuaffOnly)
            if (on_command_line.contains(name)) line.unused.push_back(concat(name, " with --method fp"));
    return line;
}

RunRecord record_of(const CommandLine& line, const Options& options) {
    CommandLine copy = line;
    copy.options = options;
    RunRecord record;
    record.config = concat("# The options of a run: train_quaff ", info_of(line.verb).name, " --config THIS_FILE\n");
    for (const Row& row : option_table(copy)) {
        const std::string value = value_text(row);
        const bool trains = row.used_by & kTrain;
        if (row.kept == Kept::fixed && trains) record.fixed.emplace_back(row.name, value);
        if (row.kept == Kept::transient || value.empty()) continue;
        if (row.used_by & info_of(line.verb).takes()) record.shown.emplace_back(row.name, value);
        if (trains) record.config += concat(row.name, " = ", is_text(row) ? toml_quote(value) : value, "\n");
    }
    return record;
}

std::string nearest_name(const std::string& word, const std::vector<std::string>& candidates) {
    std::string nearest;
    size_t smallest = std::max<size_t>(3, word.size() / 2 + 1);  // further away than this is another word
    for (const std::string& candidate : candidates) {
        // Levenshtein distance, one row of the table at a time.
        std::vector<size_t> row(candidate.size() + 1);
        std::iota(row.begin(), row.end(), size_t{0});
        for (size_t i = 1; i <= word.size(); ++i) {
            size_t diagonal = row[0];
            row[0] = i;
            for (size_t j = 1; j <= candidate.size(); ++j) {
                const size_t substituted = diagonal + (word[i - 1] != candidate[j - 1]);
                diagonal = row[j];
                row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
            }
        }
        if (row.back() < smallest) {
            smallest = row.back();
            nearest = candidate;
        }
    }
    return nearest;
}

}  // namespace quaff::cli
