#include "quaff/cli/help.h"

#include <algorithm>
#include <cstdio>

#include "llmc/core/error.h"
#include "quaff/cli/option_table.h"

namespace quaff::cli {

using namespace llmc;

namespace {

// Columns of a line: the terminal's, up to 100.
int columns() {
    const int terminal = terminal_columns(stdout);
    return terminal == 0 ? 100 : std::clamp(terminal, 60, 100);
}

// A long choice goes on in another line behind one of its bars.
std::string broken_at_bars(std::string choice) {
    std::string lines;
    const auto width = static_cast<size_t>(columns());
    while (choice.size() > width) {
        const size_t bar = choice.rfind('|', width - 1);
        if (bar == choice.npos) break;
        lines += choice.substr(0, bar + 1) + "\n";
        choice = "      " + choice.substr(bar + 1);
    }
    return lines + choice;
}

// A name and its description, which stands in a column of its own.
std::string entry(std::string left, const std::string& description, size_t column) {
    left.insert(0, "  ");
    const std::string margin(column, ' ');
    if (left.size() < column)
        return wrap(concat(left, margin.substr(left.size()), description), columns(), static_cast<int>(column) - 2) +
               "\n";
    return concat(broken_at_bars(left), "\n", wrap(margin + description, columns()), "\n");
}

std::string option_entry(const std::string& left, const std::string& description) {
    return entry(left, description, 32);
}

}  // namespace

std::string help_text(const VerbInfo& verb) {
    const bool is_default = verb.verb == CommandLine().verb, takes_path = verb.verb == Verb::info;
    std::string help = wrap(concat("train_quaff ", is_default ? concat("[", verb.name, "]") : verb.name,
                                   takes_path                  ? " [PATH]"
                                   : verb.verb == Verb::report ? " RUN.."
                                                               : "",
                                   " [options]: ", verb.does),
                            columns(), 4) +
                       "\n";
    if (is_default) {
        help += "\nverbs (train_quaff VERB --help lists a verb's options):\n";
        for (const VerbInfo& other : kVerbs) help += entry(other.name, other.does, 13);
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
        const std::string value = value_text(row);
        const bool shown = !value.empty() && !is_switch(row);
        help += option_entry(concat("--", row.name, type_text(row)), concat(row.help, shown ? " [" + value + "]" : ""));
    }
    if (takes_path) help += "\n--plan also takes the options of a training run: train_quaff train --help\n";
    return help;
}

}  // namespace quaff::cli
