#include "quaff/cli/man_page.h"

#include <utility>
#include <vector>

#include "llmc/core/error.h"
#include "llmc/core/words.h"
#include "quaff/cli/option_table.h"
#include "quaff/cli/program.h"

namespace quaff::cli {

using namespace llmc;

namespace {

// As text of troff: a dash is the one that is typed, and nothing is taken for a request.
std::string roff(const std::string& text) {
    std::string escaped;
    for (const char c : text) {
        if (c == '-')
            escaped += "\\-";
        else if (c == '\\')
            escaped += "\\e";
        else
            escaped += c;
    }
    return (escaped.starts_with('.') || escaped.starts_with('\'') ? "\\&" : "") + escaped;
}

// A paragraph with a hanging tag in bold.
std::string tagged(const std::string& tag, const std::string& text) {
    return concat(".TP\n\\fB", roff(tag), "\\fR\n", roff(text), "\n");
}

// What an option means: its help, and the verbs that it means this to.
using Meanings = std::vector<std::pair<std::string, std::vector<std::string>>>;

// Row `index` of the table, whose help and default depend on the verb.
Meanings meanings_of(const std::vector<std::vector<Row>>& tables, size_t index) {
    Meanings meanings;
    for (const VerbInfo& verb : kVerbs) {
        const Row& row = tables[static_cast<size_t>(verb.verb)][index];
        if (!(row.used_by & takes(verb.verb))) continue;
        const std::string value = is_switch(row) ? "" : value_text(row);
        const std::string help = value.empty() ? row.help : concat(row.help, " [", value, "]");
        auto meaning = meanings.begin();
        while (meaning != meanings.end() && meaning->first != help) ++meaning;
        if (meaning == meanings.end()) meaning = meanings.insert(meaning, {help, {}});
        meaning->second.emplace_back(verb.name);
    }
    return meanings;
}

std::string options() {
    std::vector<CommandLine> lines;
    for (const VerbInfo& verb : kVerbs) lines.emplace_back(verb.verb);
    std::vector<std::vector<Row>> tables;
    for (CommandLine& line : lines) tables.push_back(option_table(line));
    std::string text, heading;
    for (size_t i = 0; i < tables[0].size(); ++i) {
        const Row& row = tables[0][i];
        if (heading != row.group) text += concat(".SS ", roff(row.group), "\n");
        heading = row.group;
        std::string meanings;
        for (const auto& [help, verbs] : meanings_of(tables, i))
            meanings += concat(meanings.empty() ? "" : "\n.br\n", roff(concat(help, " (", join(verbs), ")")));
        text += concat(".TP\n\\fB", roff(concat("--", row.name)), "\\fR", roff(type_text(row)), "\n", meanings, "\n");
    }
    return text;
}

}  // namespace

std::string man_page() {
    std::string verbs;
    for (const VerbInfo& verb : kVerbs) verbs += tagged(verb.name, verb.does);
    return concat(".TH TRAIN_QUAFF 1 \"\" \"train_quaff ", kVersion, R"("
.SH NAME
train_quaff \- fine\-tune language models in 8 bits with LoRA adapters
.SH SYNOPSIS
.B train_quaff
.RI [ verb ] " " [ options ]
.SH DESCRIPTION
Without a verb it trains; without a model and data it runs the demo.
An underscore may stand for a dash in the name of an option.
Options are taken from the command line, then from the file of
.BR \-\-config ,
then, for a resumed run, from its own config.toml.
.SH VERBS
)",
                  verbs, R"(.SH OPTIONS
What stands in brackets is the default, and in parentheses the verbs that take the option.
.SS help
)",
                  tagged("-h, --help", "the common options of a verb"), tagged("--help-all", "all options of a verb"),
                  tagged("--version", "the program's version"), options(), R"(.SH SHELLS
.B train_quaff completion bash
and
.B train_quaff completion zsh
print the completion of the command line;
.B train_quaff man
prints this page.
.SH EXIT STATUS
0: done; 1: failed; 2: wrong usage; 130: stopped by a signal after a checkpoint.
.SH ENVIRONMENT
.BR HF_HUB_CACHE ,
.BR HF_HOME ,
.BR XDG_CACHE_HOME :
where the models that
.B \-\-model
.I org/name
names are kept.
)");
}

}  // namespace quaff::cli
