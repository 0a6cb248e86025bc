// The table of all options. Parsing, --help, the manual, completion, the list on the terminal and out/config.toml all
// come from it.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "quaff/cli/parsing.h"

namespace quaff::cli {

// A set of verbs. kPlanOnly: info, but only with --plan, which plans a training run.
using Verbs = unsigned;
constexpr Verbs only(Verb verb) {
    return 1u << static_cast<unsigned>(verb);
}
inline constexpr Verbs kTrain = only(Verb::train), kCalibrate = only(Verb::calibrate), kEval = only(Verb::eval),
                       kCompare = only(Verb::compare), kGenerate = only(Verb::generate), kMerge = only(Verb::merge),
                       kTokenize = only(Verb::tokenize), kReport = only(Verb::report), kInfo = only(Verb::info),
                       kPlanOnly = kInfo << 1;
inline constexpr Verbs kRuns = kTrain | kCalibrate | kEval | kCompare | kGenerate | kPlanOnly;
inline constexpr Verbs kAll = kRuns | kMerge | kTokenize | kInfo;

// The options that a verb takes.
constexpr Verbs takes(Verb verb) {
    return verb == Verb::info ? kInfo | kPlanOnly : only(verb);
}

struct Range {
    double low, high;
    bool low_open, high_open;
};

// The kinds of values: a switch, a whole number, a number, a text, one of several words. While an `Optional...` value
// is empty, the adapter decides it, and `otherwise` is shown.
struct Switch {
    bool* value;
};
struct OptionalSwitch {
    std::optional<bool>* value;
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
// "auto", which is nothing, or a number.
struct RealOrAuto {
    std::optional<double>* value;
    Range range;
};
struct Text {
    std::string* value;
    const char* type;  // DIR, FILE, TEXT
    bool may_be_empty = false;
};
// Given several times, or an array in a file.
struct Texts {
    std::vector<std::string>* value;
    const char* type;
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
using Value = std::variant<Switch, OptionalSwitch, Whole, OptionalWhole, Real, OptionalReal, RealOrAuto, Text, Texts,
                           OptionalText, Choice>;

// What happens to an option when a run is resumed and when its options are written down.
enum class Kept {
    fixed,      // written to config.toml; a resumed run must have the same
    free,       // written to config.toml; may change on resume
    transient,  // not written: about this invocation alone
};

struct Row {
    const char* name;  // the long name without dashes
    Value value;
    Verbs used_by;
    Kept kept;
    std::string help;
    Verbs common_to = 0;     // the verbs whose --help lists it; --help-all lists all that use it
    const char* group = "";  // the heading it stands under in --help-all
};

// The options that say how calibration chooses outlier channels.
inline constexpr const char* kOptionsOfChoosing[] = {"outlier-strategy", "outlier-threshold", "outlier-max-ratio",
                                                     "outlier-budget"};

// Whether the option needs no value: --quiet.
inline bool is_switch(const Row& row) {
    return std::holds_alternative<Switch>(row.value) || std::holds_alternative<OptionalSwitch>(row.value);
}

// The rows read and write the members of `line`, which must outlive them.
std::vector<Row> option_table(CommandLine& line);

// Sets one option from its values as text; an option that takes one value gets them joined by commas. `where` is the
// file and line that it stands in, empty on the command line. Throws UsageError when the option cannot have this value.
void assign(const Row& row, const std::vector<std::string>& values, const std::string& where);
std::string value_text(const Row& row);
// How the value is written in --help-all: "N", "DIR", "8|16"; empty for a switch.
std::string type_text(const Row& row);
// Whether the value may be the path of a file or of a folder.
bool names_file(const Row& row);
bool names_folder(const Row& row);

}  // namespace quaff::cli
