#include "quaff/options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <numeric>
#include <variant>

#include "llmc/error.h"
#include "llmc/schedule.h"
#include "llmc/tokenizer/chat_template.h"
#include "llmc/toml.h"
#include "quaff/outliers.h"

namespace quaff {
namespace {

using namespace llmc;

// ---- the table -----------------------------------------------------------------------------------------------------

// The verbs that use an option, as bits. `info --plan` plans a training run, so whatever train uses, info takes too.
enum : unsigned { kTrain = 1, kCalibrate = 2, kEval = 4, kGenerate = 8, kMerge = 16, kTokenize = 32, kInfo = 64 };
constexpr unsigned kRuns = kTrain | kCalibrate | kEval | kGenerate | kInfo;
constexpr unsigned kAll = kRuns | kMerge | kTokenize;

struct Verb {
    const char* name;
    unsigned bit;
    const char* does;
};

const std::vector<Verb>& verbs() {
    static const std::vector<Verb> verbs = {
        {"train", kTrain, "quantise, evaluate, fine-tune, evaluate, save the adapter (the default)"},
        {"calibrate", kCalibrate, "write the outlier channels of a model to a JSON file"},
        {"eval", kEval, "loss, perplexity, token accuracy of a model, with or without an adapter"},
        {"generate", kGenerate, "text from a prompt, or from each line of a file"},
        {"merge", kMerge, "fold an adapter into the weights and write a Hugging Face model"},
        {"tokenize", kTokenize, "the token ids of a text, or of each line of a file"},
        {"info", kInfo, "what a model, adapter, outlier file or checkpoint holds; --plan: the memory a run takes"}};
    return verbs;
}

struct Range {
    double low, high;
    bool low_open, high_open;
};
constexpr double kInfinity = std::numeric_limits<double>::infinity();
// Counts end here: the product of two of them still fits 64 bits, and nobody has more steps, tokens or sequences.
constexpr double kMostCounted = 1e9;
constexpr Range count_from(double low) {
    return {low, kMostCounted, false, false};
}
constexpr Range at_least(double low) {
    return {low, kInfinity, false, true};
}
constexpr Range above(double low) {
    return {low, kInfinity, true, true};
}
constexpr Range from_to(double low, double high) {
    return {low, high, false, false};
}
constexpr Range from_below(double low, double high) {
    return {low, high, false, true};
}

// How a value looks: a switch, a whole number, a number, a text, one of some words.
struct Switch {
    bool* value;
};
struct Whole {
    int64_t* value;
    Range range;
};
struct Real {
    double* value;
    Range range;
};
struct Text {
    std::string* value;
    const char* type;  // DIR, FILE, TEXT
};
struct Choice {
    std::string* value;
    std::vector<std::string> words;
};
using Value = std::variant<Switch, Whole, Real, Text, Choice>;

// What becomes of an option when a run is resumed or its options are written down.
enum class Kept {
    fixed,      // changing it would make another run: a resumed run has to agree
    free,       // written to config.toml, may change on resume
    transient,  // about this one invocation: not written down
};

struct Row {
    const char* name;  // the long name without dashes
    Value value;
    unsigned used_by;
    Kept kept;
    const char* help;
};

std::vector<std::string> template_names() {
    std::vector<std::string> names = ChatTemplate::names();
    names.push_back("auto");
    return names;
}

std::vector<Row> option_table(Options& o) {
    using enum Kept;
    constexpr unsigned kData = kTrain | kCalibrate | kEval | kInfo;
    constexpr unsigned kFits = kTrain | kInfo;  // what only a training run uses
    return {
        {"model", Text{&o.model, "DIR"}, kAll, free, "Hugging Face model directory"},
        {"data", Text{&o.data, "FILE"}, kData | kTokenize, free, "examples: .jsonl, .json, .csv or .tsv"},
        {"eval-data", Text{&o.eval_data, "FILE"}, kFits | kEval, free, "held-out examples"},
        {"out", Text{&o.out, "DIR"}, kFits | kMerge, free, "log, checkpoints and adapter (train), model (merge)"},
        {"device", Choice{&o.device, {"auto", "cpu", "cuda"}}, kRuns, free, "what to compute on"},
        {"method", Choice{&o.method, {"quaff", "fp"}}, kRuns, fixed,
         "8-bit weights and activations, or full precision; quaff for train, the adapter's own for eval and generate"},
        {"dtype", Choice{&o.dtype, {"auto", "fp32", "bf16", "fp16"}}, kRuns, fixed,
         "compute type; auto: fp32 on the CPU, bf16 or (sm_75) fp16 on CUDA"},
        {"adapter", Text{&o.adapter, "DIR"}, kTrain | kEval | kGenerate | kMerge | kInfo, fixed,
         "PEFT adapter to start from (train) or to use (eval, generate, merge)"},
        {"template", Choice{&o.chat_template, template_names()}, kRuns, fixed,
         "prompt template put around the examples' texts; auto: the model's own"},
        {"source-max-len", Whole{&o.source_max_len, count_from(1)}, kData, fixed,
         "examples whose prompt has more tokens are dropped and counted"},
        {"target-max-len", Whole{&o.target_max_len, count_from(1)}, kData, fixed, "the same for the answer"},
        {"train-on-source", Switch{&o.train_on_source}, kData, fixed, "the prompt's tokens carry a loss too"},
        {"strict-data", Choice{&o.strict_data, {"on", "off"}}, kData, fixed,
         "on: stop at the first line that cannot be used; off: leave such lines out, count and list them"},
        {"eval-split", Real{&o.eval_split, from_below(0, 1)}, kFits, fixed,
         "share of --data held out when there is no --eval-data"},
        {"show-tokens", Whole{&o.show_tokens, count_from(0)}, kData, transient,
         "print the first N examples token by token, those in the loss marked, and stop"},
        {"exact-match", Choice{&o.exact_match, {"auto", "on", "off"}}, kTrain | kEval, free,
         "share of answers that greedy decoding gives word for word; auto: when they are short"},

        {"outliers", Text{&o.outliers, "FILE"}, kRuns, fixed, "outlier channels: to read, or (calibrate) to write"},
        {"outlier-strategy", Choice{&o.outlier_strategy, {"token_max", "mean_times", "static", "zscore", "top_abs"}},
         kRuns, fixed, "how calibration ranks the channels"},
        {"outlier-threshold", Real{&o.outlier_threshold, above(0)}, kRuns, fixed,
         "the bound of mean_times, static and zscore"},
        {"outlier-max-ratio", Text{&o.outlier_max_ratio, "RATIO"}, kRuns, fixed,
         "largest share of outlier channels; per module: down_proj=0.05,o_proj=0.02,0.003"},
        {"cal-data", Text{&o.cal_data, "FILE"}, kRuns, fixed, "examples to calibrate on; else the training data"},
        {"max-cal-samples", Whole{&o.max_cal_samples, count_from(1)}, kRuns, fixed, "at most that many of them"},
        {"scale-momentum", Real{&o.scale_momentum, from_to(0, 1)}, kFits, fixed,
         "weight of the old scale of a channel"},
        {"grad-bits", Choice{&o.grad_bits, {"8", "16"}}, kFits, fixed, "bits of the backward product of frozen layers"},

        {"lora-r", Whole{&o.lora_r, from_to(1, 65536)}, kFits, fixed, "rank of the adapters"},
        {"lora-alpha", Real{&o.lora_alpha, above(0)}, kFits, fixed, "the adapters' part is scaled by alpha / r"},
        {"lora-dropout", Real{&o.lora_dropout, from_below(0, 1)}, kFits, fixed, "dropout in front of the adapters"},
        {"target-modules", Text{&o.target_modules, "NAMES"}, kFits, fixed, "all-linear, or names: q_proj,v_proj"},
        {"batch-size", Whole{&o.batch_size, count_from(1)}, kData, fixed, "sequences of a micro-batch"},
        {"gradient-accumulation-steps", Whole{&o.gradient_accumulation_steps, count_from(1)}, kFits, fixed,
         "micro-batches of a step"},
        {"epochs", Real{&o.epochs, {0, kMostCounted, true, false}}, kFits, free, "times round the training data"},
        {"max-steps", Whole{&o.max_steps, count_from(-1)}, kFits, free,
         "that many steps instead, as often round the data as it takes; -1: --epochs counts"},
        {"learning-rate", Real{&o.learning_rate, above(0)}, kFits, fixed, "peak learning rate of AdamW"},
        {"lr-scheduler", Choice{&o.lr_scheduler, LearningRateSchedule::names()}, kFits, fixed,
         "learning-rate schedule"},
        {"warmup-ratio", Real{&o.warmup_ratio, from_to(0, 1)}, kFits, fixed,
         "share of the steps to warm up in (all schedules but constant)"},
        {"weight-decay", Real{&o.weight_decay, at_least(0)}, kFits, fixed, "decoupled weight decay"},
        {"adam-beta1", Real{&o.adam_beta1, from_below(0, 1)}, kFits, fixed, "decay of AdamW's first moment"},
        {"adam-beta2", Real{&o.adam_beta2, from_below(0, 1)}, kFits, fixed, "decay of AdamW's second moment"},
        {"adam-eps", Real{&o.adam_eps, above(0)}, kFits, fixed, "added to the root of the second moment"},
        {"max-grad-norm", Real{&o.max_grad_norm, at_least(0)}, kFits, fixed, "gradients are clipped to it; 0: never"},
        {"eval-steps", Whole{&o.eval_steps, count_from(0)}, kFits, free,
         "evaluate every so many steps; 0: only around"},
        {"save-steps", Whole{&o.save_steps, count_from(0)}, kFits, free,
         "write a checkpoint every so many steps; 0: only when stopped"},
        {"save-total-limit", Whole{&o.save_total_limit, count_from(0)}, kFits, free,
         "checkpoints to keep, the newest; 0: all"},
        {"recompute", Choice{&o.recompute, {"auto", "none", "block"}}, kFits, free,
         "recompute blocks in the backward pass; auto: when the memory asks for it"},
        {"resume", Text{&o.resume, "[DIR]"}, kTrain, transient,
         "go on from the newest intact checkpoint of --out, or from that one"},

        {"prompt", Text{&o.prompt, "TEXT"}, kGenerate, transient, "text to continue"},
        {"prompt-file", Text{&o.prompt_file, "FILE"}, kGenerate, transient, "a prompt on each line"},
        {"chat", Switch{&o.chat}, kGenerate, transient, "put the model's chat template around the prompt"},
        {"max-new-tokens", Whole{&o.max_new_tokens, count_from(1)}, kGenerate, transient,
         "stop after that many tokens"},
        {"temperature", Real{&o.temperature, at_least(0)}, kGenerate, transient, "0: always the likeliest token"},
        {"top-k", Whole{&o.top_k, count_from(0)}, kGenerate, transient,
         "draw from the k likeliest tokens; 0: from all"},
        {"top-p", Real{&o.top_p, {0, 1, true, false}}, kGenerate, transient,
         "draw from the likeliest tokens that hold this probability"},

        {"text", Text{&o.text, "TEXT"}, kTokenize, transient, "text to tokenise"},
        {"config", Text{&o.config, "FILE"}, kAll, transient, "read options from a TOML file: name = value"},
        {"seed", Whole{&o.seed, at_least(0)}, kRuns, fixed,
         "of the adapters' start, the order of the examples, dropout and sampling"},
        {"threads", Whole{&o.threads, from_to(0, 4096)}, kAll, free, "CPU threads; 0: all"},
        {"json", Switch{&o.json}, kAll, transient, "print one JSON object on stdout at the end, all else on stderr"},
        {"plan", Switch{&o.plan}, kTrain | kInfo, transient, "print the memory plan and stop"},
        {"quiet", Switch{&o.quiet}, kAll, transient, "print the result only"},
    };
}

// ---- values as text ------------------------------------------------------------------------------------------------

std::string number_text(double number) {
    char text[32];
    const auto end = std::to_chars(text, text + sizeof text, number);
    return {text, end.ptr};
}

std::string range_text(const Range& range) {
    if (range.high == kInfinity) return (range.low_open ? "above " : "of at least ") + number_text(range.low);
    return (range.low_open ? "above " : "from ") + number_text(range.low) + (range.high_open ? " to below " : " to ") +
           number_text(range.high);
}

std::string join(const std::vector<std::string>& words, const std::string& separator, const std::string& last) {
    std::string joined;
    for (size_t i = 0; i < words.size(); ++i)
        joined += (i == 0 ? "" : i + 1 == words.size() ? last : separator) + words[i];
    return joined;
}

bool contains(const Range& range, double number) {
    return std::isfinite(number) && (range.low_open ? number > range.low : number >= range.low) &&
           (range.high_open ? number < range.high : number <= range.high);
}

template <class T>
bool parse_number(const std::string& text, T& number) {
    const auto end = std::from_chars(text.data(), text.data() + text.size(), number);
    return end.ec == std::errc() && end.ptr == text.data() + text.size();
}

// Sets one option from text; `where` names the file and line it stands in, empty on the command line.
void assign(const Row& row, const std::string& text, const std::string& where) {
    const std::string name = (where.empty() ? "" : where + ": ") + "--" + row.name;
    const auto wrong = [&](const std::string& expected) {
        throw UsageError(concat(name, " must be ", expected, ", not '", text, "'"));
    };
    if (const auto* flag = std::get_if<Switch>(&row.value)) {
        if (text != "true" && text != "false") wrong("true or false");
        *flag->value = text == "true";
    } else if (const auto* whole = std::get_if<Whole>(&row.value)) {
        int64_t number = 0;
        if (!parse_number(text, number) || !contains(whole->range, static_cast<double>(number)))
            wrong("a whole number " + range_text(whole->range));
        *whole->value = number;
    } else if (const auto* real = std::get_if<Real>(&row.value)) {
        double number = 0;
        if (!parse_number(text, number) || !contains(real->range, number)) wrong("a number " + range_text(real->range));
        *real->value = number;
    } else if (const auto* choice = std::get_if<Choice>(&row.value)) {
        if (std::find(choice->words.begin(), choice->words.end(), text) == choice->words.end())
            wrong(join(choice->words, ", ", " or "));
        *choice->value = text;
    } else if (const auto* any = std::get_if<Text>(&row.value)) {
        const bool free_text = std::string(any->type) == "TEXT";
        if (!free_text && (text.empty() || text.rfind("--", 0) == 0))
            throw UsageError(concat(name, " needs a value (", any->type, ")"));
        *any->value = text;
    }
}

std::string value_text(const Row& row) {
    if (const auto* flag = std::get_if<Switch>(&row.value)) return *flag->value ? "true" : "false";
    if (const auto* whole = std::get_if<Whole>(&row.value)) return std::to_string(*whole->value);
    if (const auto* real = std::get_if<Real>(&row.value)) return number_text(*real->value);
    if (const auto* choice = std::get_if<Choice>(&row.value)) return *choice->value;
    return *std::get<Text>(row.value).value;
}

// ---- help ----------------------------------------------------------------------------------------------------------

std::string type_text(const Row& row) {
    if (std::holds_alternative<Switch>(row.value)) return "";
    if (std::holds_alternative<Whole>(row.value)) return " N";
    if (std::holds_alternative<Real>(row.value)) return " X";
    if (const auto* choice = std::get_if<Choice>(&row.value)) return " " + join(choice->words, "|", "|");
    return std::string(" ") + std::get<Text>(row.value).type;
}

std::string help_text(const Verb& verb) {
    Options defaults;
    std::string help = concat("train_quaff ", verb.name, " [options]: ", verb.does, "\n\n");
    if (verb.bit == kTrain) {
        help += "verbs (train_quaff VERB --help tells more):\n";
        for (const Verb& other : verbs())
            help += concat("  ", other.name, std::string(11 - std::string(other.name).size(), ' '), other.does, "\n");
        help += "\n";
    }
    help += "options (_ may stand for -):\n";
    for (const Row& row : option_table(defaults)) {
        if (!(row.used_by & verb.bit)) continue;
        std::string left = concat("  --", row.name, type_text(row));
        left += left.size() < 32 ? std::string(32 - left.size(), ' ') : "\n" + std::string(32, ' ');
        const std::string value = value_text(row);
        const bool shown = !value.empty() && !std::holds_alternative<Switch>(row.value);
        help += concat(left, row.help, shown ? " [" + value + "]" : "", "\n");
    }
    return help;
}

// ---- parsing -------------------------------------------------------------------------------------------------------

std::vector<std::string> option_names(const std::vector<Row>& table) {
    std::vector<std::string> names;
    for (const Row& row : table) names.push_back(row.name);
    return names;
}

std::string did_you_mean(const std::string& near, const char* dashes) {
    return near.empty() ? "" : concat("; did you mean ", dashes, near, "?");
}

void parse_command_line(Options& options, const std::vector<Row>& table, const Verb& verb,
                        std::vector<std::string> arguments) {
    CLI::App app;
    app.set_help_flag();
    app.allow_extras();
    bool help = false, version = false;
    app.add_flag("-h,--help", help);
    app.add_flag("--version", version);
    if (verb.bit == kInfo) app.add_option("path", options.path);
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
    if (help) options.help = help_text(verb);
    if (version) options.help = "train_quaff 0.1.0\n";
    if (!options.help.empty()) return;
    for (const std::string& argument : app.remaining()) {
        if (argument.rfind("-", 0) != 0)
            throw UsageError(concat("unexpected argument '", argument,
                                    "': the verb comes first, and every value follows its --option"));
        std::string name = argument.substr(
            argument.find_first_not_of('-') == std::string::npos ? argument.size() : argument.find_first_not_of('-'));
        name = name.substr(0, name.find('='));
        std::replace(name.begin(), name.end(), '_', '-');
        throw UsageError(concat("there is no option ", argument.substr(0, argument.find('=')),
                                did_you_mean(nearest_name(name, option_names(table)), "--"), " (train_quaff ",
                                verb.name, " --help lists all)"));
    }
    for (size_t i = 0; i < table.size(); ++i) {
        if (parsed[i]->count() == 0) continue;
        assign(table[i], texts[i], "");
        options.given.insert(table[i].name);
        if (!(table[i].used_by & verb.bit)) options.unused.push_back(table[i].name);
    }
}

// Options of a file fill in what was not given before.
void parse_file(Options& options, const std::vector<Row>& table, const std::string& path) {
    std::vector<TomlEntry> entries;
    try {
        entries = read_toml(path);
    } catch (const Error& error) {
        throw UsageError(error.what());
    }
    const std::set<std::string> given_before = options.given;
    for (const TomlEntry& entry : entries) {
        std::string name = entry.name;
        std::replace(name.begin(), name.end(), '_', '-');
        const std::string where = concat(path, " line ", entry.line);
        const auto row = std::find_if(table.begin(), table.end(), [&](const Row& row) { return row.name == name; });
        if (row == table.end())
            throw UsageError(concat(where, ": there is no option ", entry.name,
                                    did_you_mean(nearest_name(name, option_names(table)), "")));
        if (name == "config" || name == "resume")
            throw UsageError(concat(where, ": ", name, " belongs on the command line"));
        if (given_before.contains(name)) continue;
        assign(*row, entry.value, where);
        options.given.insert(name);
    }
}

void check_contradictions(const Options& o) {
    const auto refuse = [](const auto&... parts) { throw UsageError(concat(parts...)); };
    if (!o.resume.empty() && o.plan) refuse("--resume and --plan contradict each other: --plan starts no run");
    if (o.verb == "train" && o.max_steps == 0) refuse("--max-steps must be at least 1, or -1 to let --epochs count");
    if (o.verb != "calibrate" && !o.outliers.empty() && !o.cal_data.empty())
        refuse(
            "--outliers names channels that were chosen already and --cal-data would choose them anew: give one of "
            "them");
    if (o.verb == "generate") {
        if (o.was_given("prompt") && !o.prompt_file.empty())
            refuse("--prompt and --prompt-file contradict each other: give one of them");
        if (!o.was_given("prompt") && o.prompt_file.empty())
            refuse("generate needs a --prompt \"TEXT\" or a --prompt-file FILE");
    }
    if (o.verb == "tokenize" && o.was_given("text") && o.was_given("data"))
        refuse("--text and --data contradict each other: give one of them");
    if (o.verb == "tokenize" && !o.was_given("text") && !o.was_given("data"))
        refuse("tokenize needs a --text \"TEXT\" or a --data FILE");
    if (o.verb == "merge" && o.adapter.empty()) refuse("merge needs an --adapter DIR to fold into the weights");
    MaxRatio checked(o.outlier_max_ratio);  // throws UsageError
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

void resolve_out(Options& o) {
    if (!o.resume.empty() && o.resume != kNewestCheckpoint && !o.was_given("out")) {
        std::filesystem::path folder = std::filesystem::path(o.resume).lexically_normal();
        if (folder.filename().empty()) folder = folder.parent_path();
        const bool is_checkpoint = folder.filename().string().rfind("checkpoint-", 0) == 0;
        o.out = is_checkpoint ? (folder.has_parent_path() ? folder.parent_path().string() : ".") : folder.string();
    }
    if (o.out.empty())
        o.out = "out/" + model_name(o.model) + "-" +
                (o.verb == "merge"  ? "merged"
                 : o.method.empty() ? "quaff"
                                    : o.method);
}

void resolve_defaults(Options& o) {
    const std::string demo = "dev/demo/";
    if (o.verb == "eval") {
        if (o.data.empty()) o.data = o.eval_data.empty() ? demo + "eval.jsonl" : o.eval_data;
    } else if (o.verb != "tokenize" && o.data.empty()) {
        o.data = demo + "train.jsonl";
        if (o.eval_data.empty()) o.eval_data = demo + "eval.jsonl";
    }
    // eval and generate look at the adapter first.
    if (o.method.empty() && o.verb != "eval" && o.verb != "generate") o.method = "quaff";
    resolve_out(o);
}

}  // namespace

Options parse_options(const std::vector<std::string>& arguments) {
    Options options;
    std::vector<std::string> rest = arguments;
    if (!rest.empty() && rest.front().rfind("-", 0) != 0) {
        options.verb = rest.front();
        rest.erase(rest.begin());
        if (options.verb == "help") {
            options.help = help_text(verbs().front());
            return options;
        }
    }
    const auto verb =
        std::find_if(verbs().begin(), verbs().end(), [&](const Verb& verb) { return verb.name == options.verb; });
    if (verb == verbs().end()) {
        std::vector<std::string> names;
        for (const Verb& known : verbs()) names.push_back(known.name);
        throw UsageError(concat("there is no verb ", options.verb, did_you_mean(nearest_name(options.verb, names), ""),
                                " (the verbs are ", join(names, ", ", " and "), ")"));
    }
    const std::vector<Row> table = option_table(options);
    parse_command_line(options, table, *verb, rest);
    if (!options.help.empty()) return options;
    if (!options.config.empty()) parse_file(options, table, options.config);

    if (!options.resume.empty()) {
        if (!options.adapter.empty())
            throw UsageError(
                "--resume and --adapter contradict each other: a resumed run goes on with its checkpoint's adapter");
        Options run = options;  // where the run lies decides which file it is continued with
        resolve_out(run);
        const std::string config = run.out + "/config.toml";
        options.out = run.out;
        options.given.insert("out");
        if (std::filesystem::exists(config)) parse_file(options, table, config);
    } else if (options.model == Options().model && !options.was_given("data")) {
        const std::string demo = "dev/demo/demo.toml";
        if (std::filesystem::exists(demo)) parse_file(options, table, demo);
    }
    check_contradictions(options);
    resolve_defaults(options);
    return options;
}

std::vector<std::pair<std::string, std::string>> option_rows(const Options& options) {
    Options copy = options;
    std::vector<std::pair<std::string, std::string>> rows;
    const auto verb =
        std::find_if(verbs().begin(), verbs().end(), [&](const Verb& verb) { return verb.name == options.verb; });
    for (const Row& row : option_table(copy)) {
        const std::string value = value_text(row);
        if ((row.used_by & verb->bit) && !value.empty() && row.kept != Kept::transient)
            rows.emplace_back(row.name, value);
    }
    return rows;
}

std::string to_toml(const Options& options) {
    Options copy = options;
    std::string toml = concat("# The options of a run: train_quaff ", options.verb, " --config THIS_FILE\n");
    for (const Row& row : option_table(copy)) {
        const std::string value = value_text(row);
        if (row.kept == Kept::transient || !(row.used_by & kTrain) || value.empty()) continue;
        const bool text = std::holds_alternative<Text>(row.value) || std::holds_alternative<Choice>(row.value);
        toml += concat(row.name, " = ", text ? toml_quote(value) : value, "\n");
    }
    return toml;
}

std::vector<std::pair<std::string, std::string>> resume_rows(const Options& options) {
    Options copy = options;
    std::vector<std::pair<std::string, std::string>> rows;
    for (const Row& row : option_table(copy))
        if (row.kept == Kept::fixed && (row.used_by & kTrain)) rows.emplace_back(row.name, value_text(row));
    return rows;
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

}  // namespace quaff
