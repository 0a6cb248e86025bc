// The table of all options: what parsing, --help, the list on the terminal and out/config.toml are read from.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "quaff/cli/parsing.h"

namespace quaff::cli {

// A set of verbs. kPlan: info, but only with --plan, which plans a training run.
using Verbs = unsigned;
constexpr Verbs only(Verb verb) {
    return 1u << static_cast<unsigned>(verb);
}
inline constexpr Verbs kTrain = only(Verb::train), kCalibrate = only(Verb::calibrate), kEval = only(Verb::eval),
                       kGenerate = only(Verb::generate), kMerge = only(Verb::merge), kTokenize = only(Verb::tokenize),
                       kInfo = only(Verb::info), kPlan = kInfo << 1;
inline constexpr Verbs kRuns = kTrain | kCalibrate | kEval | kGenerate | kPlan;
inline constexpr Verbs kAll = kRuns | kMerge | kTokenize | kInfo;

struct VerbInfo {
    Verb verb;
    const char* name;
    const char* does;

    // The options it takes.
    constexpr Verbs takes() const { return verb == Verb::info ? kInfo | kPlan : only(verb); }
};

inline constexpr VerbInfo kVerbs[] = {
    {Verb::train, "train", "quantise, evaluate, fine-tune, evaluate, save the adapter (the default)"},
    {Verb::calibrate, "calibrate", "write the outlier channels of a model to a JSON file"},
    {Verb::eval, "eval", "loss, perplexity, token accuracy of a model, with or without an adapter"},
    {Verb::generate, "generate", "text from a prompt, or from each line of a file"},
    {Verb::merge, "merge", "fold an adapter into the weights and write a Hugging Face model"},
    {Verb::tokenize, "tokenize", "the token ids of a text, or of each line of a file"},
    {Verb::info, "info", "what a model, adapter, outlier file or checkpoint holds; --plan: the memory a run takes"}};
constexpr const VerbInfo& info_of(Verb verb) {
    return kVerbs[static_cast<size_t>(verb)];
}

struct Range {
    double low, high;
    bool low_open, high_open;
};

// How a value looks: a switch, a whole number, a number, a text, one of some words. What may follow the adapter is
// `optional`, with the value that is shown while it is empty.
struct Switch {
    bool* value;
};
struct Whole {
    int64_t* value;
    Range range;
};
struct OptionalWhole {
    std::optional<int64_t>* value;
    int64_t otherwise;
    Range range;
};
struct Real {
    double* value;
    Range range;
};
struct OptionalReal {
    std::optional<double>* value;
    double otherwise;
    Range range;
};
struct Text {
    std::string* value;
    const char* type;  // DIR, FILE, TEXT
};
struct OptionalText {
    std::optional<std::string>* value;
    const char* otherwise;
    const char* type;
};
struct Choice {
    std::vector<std::string> words;
    std::function<std::string()> get;  // "" while nothing is chosen
    std::function<void(const std::string& word)> set;
};
using Value = std::variant<Switch, Whole, OptionalWhole, Real, OptionalReal, Text, OptionalText, Choice>;

// What becomes of an option when a run is resumed or its options are written down.
enum class Kept {
    fixed,      // changing it would make another run: a resumed run has to agree
    free,       // written to config.toml, may change on resume
    transient,  // about this one invocation: not written down
};

struct Row {
    const char* name;  // the long name without dashes
    Value value;
    Verbs used_by;
    Kept kept;
    const char* help;
    const char* group = "";  // the heading it stands under in --help
};

// Rows that read and write the members of `line`.
std::vector<Row> option_table(CommandLine& line);

// Sets one option from text; `where` names the file and line it stands in, empty on the command line. Throws UsageError
// when the text is no value of the option.
void assign(const Row& row, const std::string& text, const std::string& where);
std::string value_text(const Row& row);
// How the value is written in --help: "N", "DIR", "8|16"; empty for a switch.
std::string type_text(const Row& row);
// "a, b or c" with separator ", " and last " or ".
std::string join(const std::vector<std::string>& words, const std::string& separator, const std::string& last);

}  // namespace quaff::cli
