#include "quaff/cli/help.h"

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "llmc/core/error.h"
#include "llmc/core/words.h"
#include "quaff/cli/option_table.h"

namespace quaff::cli {

using namespace llmc;

namespace {

// Columns of a line: the terminal's, up to `most`.
int columns(int most) {
    const int terminal = terminal_columns(stdout);
    return terminal == 0 ? most : std::clamp(terminal, 60, most);
}

constexpr int kWhole = 100, kScreen = 80;  // columns

// A long choice goes on in another line behind one of its bars.
std::string broken_at_bars(std::string choice, size_t width) {
    std::string lines;
    while (choice.size() > width) {
        const size_t bar = choice.rfind('|', width - 1);
        if (bar == choice.npos) break;
        lines += choice.substr(0, bar + 1) + "\n";
        choice = "      " + choice.substr(bar + 1);
    }
    return lines + choice;
}

// A name and its description, which stands in a column of its own.
std::string entry(std::string left, const std::string& description, size_t column, int width) {
    left.insert(0, "  ");
    const std::string margin(column, ' ');
    if (left.size() < column)
        return wrap(concat(left, margin.substr(left.size()), description), width, static_cast<int>(column) - 2) + "\n";
    return concat(broken_at_bars(left, static_cast<size_t>(width)), "\n", wrap(margin + description, width), "\n");
}

std::string option_entry(const std::string& left, const std::string& description) {
    return entry(left, description, 32, columns(kWhole));
}

bool is_default(const VerbInfo& verb) {
    return verb.verb == CommandLine().verb;
}

std::string usage(const VerbInfo& verb, int width) {
    const char* operand = verb.verb == Verb::info ? " [PATH]" : verb.verb == Verb::report ? " RUN.." : "";
    return wrap(concat("train_quaff ", is_default(verb) ? concat("[", verb.name, "]") : verb.name, operand,
                       " [options]: ", verb.does),
                width, 4) +
           "\n";
}

std::string described(const Row& row, const std::string& description) {
    const std::string value = value_text(row);
    return value.empty() || is_switch(row) ? description : concat(description, " [", value, "]");
}

// What stands before the first semicolon or colon says enough; of a bracket that this would cut open, nothing.
std::string in_short(const std::string& help) {
    const std::string start = help.substr(0, std::min(help.find("; "), help.find(": ")));
    const size_t open = start.find_last_of("([");
    return open != start.npos && start.find_first_of(")]", open) == start.npos ? start.substr(0, open - 1) : start;
}

}  // namespace

std::string help_text(const VerbInfo& verb) {
    constexpr size_t kColumn = 26;
    const int width = columns(kScreen);
    std::string help = usage(verb, width) + "\n";
    if (is_default(verb)) {
        std::vector<std::string> names;
        for (const VerbInfo& other : kVerbs) names.emplace_back(other.name);
        help += wrap("verbs: " + join(names), width, 4) + "\n\n";
    }
    CommandLine defaults(verb.verb);
    for (const Row& row : option_table(defaults)) {
        if (!(row.common_to & row.used_by & only(verb.verb))) continue;
        const std::string type = type_text(row);
        std::string left = concat("--", row.name, type);
        const bool is_choice = type.find('|') != type.npos;
        if (left.size() + 2 >= kColumn && is_choice) left = concat("--", row.name, " NAME");
        help += entry(left, described(row, in_short(row.help)), kColumn, width);
    }
    const char* others = is_default(verb) ? "; train_quaff VERB --help: another verb" : "";
    return help + wrap(concat("\ntrain_quaff ", verb.name, " --help-all: all options", others), width) + "\n";
}

std::string whole_help_text(const VerbInfo& verb) {
    const bool takes_path = verb.verb == Verb::info;
    std::string help = usage(verb, columns(kWhole));
    if (is_default(verb)) {
        help += "\nverbs (train_quaff VERB --help-all lists a verb's options):\n";
        for (const VerbInfo& other : kVerbs) help += entry(other.name, other.does, 13, columns(kWhole));
    }
    if (takes_path)
        help += "\n" + option_entry("PATH",
                                    "a model, adapter, checkpoint or outlier file; else --adapter, --outliers or "
                                    "--model");
    help += "\noptions (_ may stand for -)\n";
    CommandLine defaults(verb.verb);
    std::string heading;
    for (const Row& row : option_table(defaults)) {
        if (!(row.used_by & only(verb.verb))) continue;
        if (heading != row.group) help += concat("\n", row.group, ":\n");
        heading = row.group;
        help += option_entry(concat("--", row.name, type_text(row)), described(row, row.help));
    }
    if (takes_path) help += "\n--plan also takes the options of a training run: train_quaff train --help-all\n";
    return help;
}

}  // namespace quaff::cli
