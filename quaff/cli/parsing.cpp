#include "quaff/cli/parsing.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <utility>

#include "llmc/core/error.h"
#include "llmc/core/nearest_name.h"
#include "llmc/core/words.h"
#include "llmc/io/path.h"
#include "llmc/io/toml.h"
#include "quaff/cli/checks.h"
#include "quaff/cli/completion.h"
#include "quaff/cli/demo.h"
#include "quaff/cli/foreign_names.h"
#include "quaff/cli/help.h"
#include "quaff/cli/man_page.h"
#include "quaff/cli/option_table.h"
#include "quaff/cli/program.h"
#include "quaff/files/checkpoint_folder.h"
#include "quaff/files/hub_cache.h"
#include "quaff/files/info.h"

namespace quaff::cli {
namespace {

using namespace llmc;

std::vector<std::string> option_names(const std::vector<Row>& table) {
    std::vector<std::string> names;
    for (const Row& row : table) names.push_back(row.name);
    return names;
}

// What was probably meant by a name that no option has: "; here it is --epochs", "; did you mean --epochs?" or "".
// `dashes`: what a guessed name is written with.
std::string advice_on(const std::string& name, const std::vector<Row>& table, const char* dashes) {
    const std::string here = option_here(name);
    return here.empty() ? did_you_mean(nearest_name(name, option_names(table)), dashes) : here;
}

// The table of a verb. The value of an option that the verb does not use is checked as well, then dropped: it goes to
// `unheeded`.
std::vector<Row> table_of(const VerbInfo& verb, CommandLine& line, CommandLine& unheeded) {
    std::vector<Row> table = option_table(line), others = option_table(unheeded);
    for (size_t i = 0; i < table.size(); ++i)
        if (!(table[i].used_by & takes(verb.verb))) table[i] = others[i];
    return table;
}

bool is_text(const Row& row) {
    return std::holds_alternative<Text>(row.value) || std::holds_alternative<OptionalText>(row.value) ||
           std::holds_alternative<Choice>(row.value);
}

// CLI11 takes --text= for a --text without a value. As two words it is the empty text.
std::vector<std::string> with_empty_texts(const std::vector<std::string>& arguments, const std::vector<Row>& table) {
    std::set<std::string> options;
    for (const Row& row : table)
        if (const auto* text = std::get_if<Text>(&row.value); text != nullptr && text->may_be_empty)
            options.insert(concat("--", row.name));
    std::vector<std::string> words;
    for (const std::string& argument : arguments) {
        const bool is_value = !words.empty() && options.contains(words.back());
        const std::string option = argument.substr(0, argument.find('='));
        if (!is_value && argument == option + "=" && options.contains(option))
            words.insert(words.end(), {option, ""});
        else
            words.push_back(argument);
    }
    return words;
}

// One of two values would be dropped without a word.
void refuse_repetition(const Row& row, const CLI::Option& parsed) {
    if (parsed.count() <= 1 || std::holds_alternative<Texts>(row.value)) return;
    throw UsageError(concat("--", row.name, " is given ", parsed.count(), " times",
                            is_switch(row) ? "" : ": " + join(parsed.results(), ", ", " and "), "; keep one of them"));
}

void parse_command_line(CommandLine& line, const std::vector<Row>& table, const VerbInfo& verb,
                        const std::vector<std::string>& arguments) {
    CLI::App app;
    app.set_help_flag();
    app.allow_extras();
    bool help = false, help_all = false, version = false;
    app.add_flag("-h,--help", help);
    app.add_flag("--help-all", help_all);
    app.add_flag("--version", version);
    if (verb.verb == Verb::info) app.add_option("path", line.path);
    if (verb.verb == Verb::report) app.add_option("runs", line.runs);
    // CLI11 only splits the line. Every value arrives as text and is checked by assign().
    std::vector<std::vector<std::string>> texts(table.size());
    std::vector<std::string> switches(table.size());
    std::vector<CLI::Option*> parsed;
    for (size_t i = 0; i < table.size(); ++i) {
        const std::string name = table[i].name;
        std::string names = "--" + name, underscored = name;
        std::replace(underscored.begin(), underscored.end(), '-', '_');
        if (underscored != name) names += ",--" + underscored;
        if (is_switch(table[i])) {
            parsed.push_back(app.add_flag(names, switches[i]));
        } else {
            parsed.push_back(app.add_option(names, texts[i])->allow_extra_args(false));
            if (name == "resume") parsed.back()->expected(0, 1)->default_str(kNewestCheckpoint);
        }
    }
    try {
        std::vector<std::string> words = with_empty_texts(arguments, table);
        std::reverse(words.begin(), words.end());  // CLI11 takes them from the back
        app.parse(words);
    } catch (const CLI::ArgumentMismatch& error) {
        const std::string text = error.what();  // "--seed: 1 required TEXT missing"
        throw UsageError(text.substr(0, text.find(':')) + " needs a value");
    } catch (const CLI::ParseError& error) {
        throw UsageError(concat("wrong usage: ", error.what()));
    }
    if (help) line.help = help_text(verb);
    if (help_all) line.help = whole_help_text(verb);
    if (version) line.help = concat(kProgram.name, " ", kVersion, "\n");
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
                                advice_on(name, table, "--"), " (train_quaff ", verb.name, " --help-all lists all)"));
    }
    for (size_t i = 0; i < table.size(); ++i) {
        if (parsed[i]->count() == 0) continue;
        if (is_switch(table[i])) texts[i] = {switches[i]};
        refuse_repetition(table[i], *parsed[i]);
        assign(table[i], texts[i], "");
        if (table[i].used_by & takes(verb.verb))
            line.given.insert(table[i].name);
        else
            line.unused.push_back(table[i].name);
    }
}

// Options from a file fill in what was not given before.
void parse_file(CommandLine& line, const std::vector<Row>& table, const std::string& path) {
    std::vector<TomlEntry> entries;
    try {
        entries = read_toml(path);
    } catch (const Error& error) {
        if (path == line.config) throw UsageError(error.what());
        throw;  // the user did not name this file
    }
    const auto name_of_entry = [](const TomlEntry& entry) {
        std::string name = entry.name;
        std::replace(name.begin(), name.end(), '_', '-');
        return name;
    };
    const std::set<std::string> given_before = line.given;
    const bool has_eval_data = line.was_given("eval-data") || std::ranges::any_of(entries, [&](const TomlEntry& entry) {
                                   return name_of_entry(entry) == "eval-data" && !join(entry.values, "", "").empty();
                               });
    for (const TomlEntry& entry : entries) {
        const std::string name = name_of_entry(entry);
        const std::string where = concat(path, " line ", entry.line);
        const auto row = std::find_if(table.begin(), table.end(), [&](const Row& row) { return row.name == name; });
        if (row == table.end())
            throw UsageError(concat(where, ": there is no option ", entry.name, advice_on(name, table, "")));
        if (name == "config" || name == "resume")
            throw UsageError(concat(where, ": ", name, " belongs on the command line"));
        if (given_before.contains(name)) continue;
        // eval evaluates on a training run's --eval-data, not on its --data; without it, on the share held out.
        if (line.verb == Verb::eval && has_eval_data && (name == "data" || name == "eval-split")) continue;
        if (line.verb == Verb::eval && given_before.contains("data") && name == "eval-split")
            continue;  // of other data
        // A comparison trains only where it is asked to.
        if (line.verb == Verb::compare && name == "max-steps" && path != line.config) continue;
        assign(*row, entry.values, where);
        line.given.insert(name);
    }
}

// info PATH with --plan or --show-tokens is about a run with PATH as its model, adapter or outlier file.
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

// The name of the model's folder, or of the one around it when that is just "model": dev/demo/model -> demo.
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
    if (!o.out.empty() || line.verb == Verb::report) return;
    const char* kind = line.verb == Verb::merge     ? "merged"
                       : line.verb == Verb::compare ? "compare"
                                                    : name_in(kMethodNames, o.compute.method.value_or(Method::quaff));
    o.out = concat("out/", model_name(o.model.folder), "-", kind);
}

// A folder that is there comes before a model of that name in the cache.
void resolve_hub_name(ModelOptions& model) {
    if (path_exists(model.folder)) return;
    const std::string cached = find_in_hub_cache(hub_cache(), model.folder).string();
    if (!cached.empty()) model.hub_name = std::exchange(model.folder, cached);
}

void resolve_defaults(CommandLine& line) {
    const std::string demo = demo_folder() + "/";
    Options& o = line.options;
    o.model.is_demo = !line.was_given("model");
    if (line.verb == Verb::eval) {
        if (o.data.files.empty() && !o.data.eval_files.empty()) {
            o.data.files = o.data.eval_files;
            o.data.eval_split = 0;  // all of them are held out
        }
        if (o.data.files.empty()) o.data.files = {demo + "eval.jsonl"};
    } else if (line.verb != Verb::tokenize && o.data.files.empty()) {
        o.data.files = {demo + "train.jsonl"};
        if (o.data.eval_files.empty()) o.data.eval_files = {demo + "eval.jsonl"};
    }
    if (!o.compute.method && !info_of(line.verb).adapter_decides_method) o.compute.method = Method::quaff;
    resolve_out(line);
    if (!o.model.is_demo) resolve_hub_name(o.model);
}

// Words that are no verbs: the program tells of itself. "" for any other word.
std::string answer_to(const std::string& word, const std::vector<std::string>& rest) {
    const auto take = [&](size_t count, const char* usage) {
        if (rest.size() != count) throw UsageError(concat("wrong usage: it is train_quaff ", usage));
    };
    if (word == "help") return help_text(info_of(Verb::train));
    if (word == "man") {
        take(0, "man");
        return man_page();
    }
    if (word != "completion") return "";
    take(1, "completion bash, or zsh");
    if (rest[0] == "bash") return bash_completion();
    if (rest[0] == "zsh") return zsh_completion();
    throw UsageError(concat("there is completion for bash and zsh, not for ", rest[0]));
}

}  // namespace

CommandLine::CommandLine(Verb verb) : verb(verb) {
    options.model.folder = demo_folder() + "/model";
    // eval evaluates on all it is given, unless asked for what a training run held out.
    if (verb == Verb::eval) options.data.eval_split = 0;
}

CommandLine parse(const std::vector<std::string>& arguments) {
    CommandLine line;
    Options& options = line.options;
    std::vector<std::string> rest = arguments;
    if (!rest.empty() && !rest.front().starts_with('-')) {
        const std::string word = rest.front();
        rest.erase(rest.begin());
        line.help = answer_to(word, rest);
        if (!line.help.empty()) return line;
        const auto* verb = std::ranges::find_if(kVerbs, [&](const VerbInfo& verb) { return verb.name == word; });
        if (verb == std::end(kVerbs)) {
            std::vector<std::string> names;
            for (const VerbInfo& known : kVerbs) names.emplace_back(known.name);
            const std::string here = verb_here(word);
            throw UsageError(concat("there is no verb ", word,
                                    here.empty() ? did_you_mean(nearest_name(word, names)) : here, " (the verbs are ",
                                    join(names, ", ", " and "), ")"));
        }
        line = CommandLine(verb->verb);
    }
    const VerbInfo& verb = info_of(line.verb);
    CommandLine unheeded;
    const std::vector<Row> table = table_of(verb, line, unheeded);
    parse_command_line(line, table, verb, rest);
    if (!line.help.empty()) return line;
    line.on_command_line = line.given;
    const std::set<std::string>& on_command_line = line.on_command_line;
    if (!line.config.empty()) parse_file(line, table, line.config);
    take_path(line, on_command_line);

    const std::string& resume = options.training.resume;
    if (!resume.empty() && line.verb == Verb::train) {
        if (!options.model.adapter.empty())
            throw UsageError(
                "--resume and --adapter contradict each other: a resumed run goes on with its checkpoint's adapter");
        resolve_out(line);
        line.given.insert("out");
        // The config.toml is that of the run to continue, even if --out names another folder.
        const bool newest = resume == kNewestCheckpoint;
        const std::string config = (newest ? options.out : run_folder(resume).string()) + "/config.toml";
        if (path_exists(config)) parse_file(line, table, config);
    } else if (line.verb != Verb::report && options.model.folder == CommandLine().options.model.folder &&
               !line.was_given("data")) {
        const std::string demo = demo_folder() + "/demo.toml";
        if (path_exists(demo)) parse_file(line, table, demo);
    }
    if (line.verb == Verb::report && line.runs.empty())
        throw UsageError("report needs the folder of a run, with its log.jsonl: train_quaff report out/NAME");
    check_contradictions(line);
    apply_paper_settings(line);
    resolve_defaults(line);
    note_unused(line, on_command_line);
    return line;
}

namespace {

// The value as a file of options has it.
std::string toml_text(const Row& row) {
    const auto* texts = std::get_if<Texts>(&row.value);
    if (texts == nullptr) return is_text(row) ? toml_quote(value_text(row)) : value_text(row);
    std::vector<std::string> quoted;
    std::ranges::transform(*texts->value, std::back_inserter(quoted), toml_quote);
    return quoted.size() == 1 ? quoted.front() : concat("[", join(quoted, ", ", ", "), "]");
}

}  // namespace

RunRecord record_of(const CommandLine& line, const Options& options) {
    CommandLine copy = line;
    copy.options = options;
    copy.options.model.folder = options.model.name();
    RunRecord record;
    const bool resumes = !options.training.resume.empty();
    record.heading = concat("train_quaff ", info_of(line.verb).name,
                            line.verbose ? ""
                            : resumes    ? concat(" --resume; all options: ", options.out, "/config.toml")
                                         : "; other options have their defaults (--verbose shows all)");
    // What was chosen is read where it is not among forty defaults; a resumed run's stands in its config.toml.
    const auto is_shown = [&](const Row& row, bool is_default) {
        if (line.verbose) return true;
        if (resumes) return line.on_command_line.contains(row.name);
        return !is_default || row.name == std::string_view("model");
    };
    record.config = concat("# The options of a run: train_quaff ", info_of(line.verb).name, " --config THIS_FILE\n");
    CommandLine defaults(line.verb);
    const std::vector<Row> table = option_table(copy), default_table = option_table(defaults);
    for (size_t i = 0; i < table.size(); ++i) {
        const Row& row = table[i];
        const std::string value = value_text(row);
        const bool trains = row.used_by & kTrain, is_default = value == value_text(default_table[i]);
        if (row.kept == Kept::fixed && trains) record.fixed.emplace_back(row.name, value);
        if (row.kept == Kept::transient || value.empty()) continue;
        if (row.used_by & takes(line.verb)) {
            record.all.emplace_back(row.name, value);
            if (is_shown(row, is_default)) record.shown.emplace_back(row.name, value);
        }
        if (trains) record.config += concat(row.name, " = ", toml_text(row), "\n");
        // Where files lie is nobody else's business, and those that may change on resume decide nothing.
        if (!line.was_given(row.name) || is_default) continue;
        if (!names_file(row) && !names_folder(row))
            record.changed.emplace_back(row.name, value);
        else if (row.kept == Kept::fixed)
            record.changed.emplace_back(row.name, without_slash(value).filename().string());
    }
    return record;
}

}  // namespace quaff::cli
