// The table of all options: what parsing, --help, the list on the terminal and out/config.toml are read from.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "quaff/cli/parsing.h"

namespace quaff::cli {

// The verbs that use an option, as bits; kPlan: info, but only with --plan, which plans a training run.
enum : unsigned {
    kTrain = 1,
    kCalibrate = 2,
    kEval = 4,
    kGenerate = 8,
    kMerge = 16,
    kTokenize = 32,
    kInfo = 64,
    kPlan = 128
};
constexpr unsigned kRuns = kTrain | kCalibrate | kEval | kGenerate | kPlan;
constexpr unsigned kAll = kRuns | kMerge | kTokenize | kInfo;

struct Verb {
    const char* name;
    unsigned bit;
    const char* does;

    unsigned takes() const { return bit == kInfo ? kInfo | kPlan : bit; }
};

const std::vector<Verb>& verbs();

struct Range {
    double low, high;
    bool low_open, high_open;
};

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
    const char* group = "";  // the heading it stands under in --help
};

// Rows that read and write the members of `options`.
std::vector<Row> option_table(Options& options);

// Sets one option from text; `where` names the file and line it stands in, empty on the command line. Throws UsageError
// when the text is no value of the option.
void assign(const Row& row, const std::string& text, const std::string& where);
std::string value_text(const Row& row);
// How the value is written in --help: "N", "DIR", "8|16"; empty for a switch.
std::string type_text(const Row& row);
// "a, b or c" with separator ", " and last " or ".
std::string join(const std::vector<std::string>& words, const std::string& separator, const std::string& last);

}  // namespace quaff::cli
