#include "quaff/cli/completion.h"

#include <map>
#include <string_view>
#include <vector>

#include "llmc/core/error.h"
#include "llmc/core/words.h"
#include "llmc/system/child_process.h"
#include "quaff/cli/option_table.h"

namespace quaff::cli {

using namespace llmc;

namespace {

// Calls visit(row) for every option that the verb takes.
template <class Visit>
void for_each_option(const VerbInfo& verb, const Visit& visit) {
    CommandLine defaults(verb.verb);
    for (const Row& row : option_table(defaults))
        if (row.used_by & takes(verb.verb)) visit(row);
}

// The words that the option takes; none if they cannot be told.
std::vector<std::string> words_of(const Row& row) {
    const auto* choice = std::get_if<Choice>(&row.value);
    return choice == nullptr ? std::vector<std::string>{} : choice->words;
}

constexpr const char* kOfAllVerbs[] = {"--help", "--help-all", "--version"};

std::string verb_names(const char* separator) {
    std::vector<std::string> names;
    for (const VerbInfo& verb : kVerbs) names.emplace_back(verb.name);
    return join(names, separator, separator);
}

// ---- bash ----------------------------------------------------------------------------------------------------------

// The command that completes an option's value; an option that means something else to another verb takes files if
// either does.
std::string values_in_bash(const Row& row) {
    const std::vector<std::string> words = words_of(row);
    if (!words.empty()) return concat("words='", join(words, " ", " "), "'");
    return names_file(row) ? "kind=-f" : names_folder(row) ? "kind=-d" : "return";
}

// ---- zsh -----------------------------------------------------------------------------------------------------------

// As the description of an option to _arguments, and as that of a verb to _describe.
std::string escaped(const std::string& text) {
    std::string escaped;
    for (const char c : text) {
        if (c == '[' || c == ']' || c == ':' || c == '\\') escaped += '\\';
        escaped += c;
    }
    return escaped;
}

std::string spec_in_zsh(const Row& row) {
    const bool repeats = std::holds_alternative<Texts>(row.value), value_may_lack = std::string(row.name) == "resume";
    std::string spec = concat(repeats ? "*" : "", "--", row.name, "[", escaped(row.help), "]");
    if (is_switch(row)) return spec;
    const std::vector<std::string> words = words_of(row);
    const std::string action = !words.empty()      ? concat("(", join(words, " ", " "), ")")
                               : names_file(row)   ? "_files"
                               : names_folder(row) ? "_directories"
                                                   : " ";
    return concat(spec, value_may_lack ? "::" : ":", row.name, ":", action);
}

}  // namespace

std::string bash_completion() {
    std::map<std::string, std::string> values;  // by option
    std::string verbs;
    for (const VerbInfo& verb : kVerbs) {
        std::vector<std::string> options(std::begin(kOfAllVerbs), std::end(kOfAllVerbs));
        for_each_option(verb, [&](const Row& row) {
            options.push_back(concat("--", row.name));
            if (is_switch(row)) return;
            std::string& value = values[options.back()];
            if (value.empty() || value == "kind=-d") value = values_in_bash(row);
        });
        const char* operand = verb.verb == Verb::info ? "; kind=-f" : verb.verb == Verb::report ? "; kind=-d" : "";
        verbs += concat("        ", verb.name, ") words='", join(options, " ", " "), "'", operand, " ;;\n");
    }
    std::string options;
    for (const auto& [option, value] : values) options += concat("        ", option, ") ", value, " ;;\n");
    return concat(R"(# Completion of train_quaff for bash, made by: train_quaff completion bash
_train_quaff() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} verb=train words='' kind=''
    COMPREPLY=()
    # --option=value comes as three words.
    if [[ $current == = ]]; then
        current=''
    elif [[ $previous == = ]]; then
        previous=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    if (( COMP_CWORD == 1 )) && [[ $current != -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W ')",
                  verb_names(" "), R"(' -- "$current")
        return
    fi
    case ${COMP_WORDS[1]} in
        )",
                  verb_names("|"), R"() verb=${COMP_WORDS[1]} ;;
        completion) words='bash zsh' verb='' ;;
    esac
    case $previous in
)",
                  options, R"(    esac
    if [[ -z $words$kind || $current == -* ]]; then
        case $verb in
)",
                  verbs, R"(        esac
    fi
    if [[ -n $kind && $current != -* ]]; then
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen "$kind" -- "$current")
    else
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
    fi
}
complete -F _train_quaff train_quaff
)");
}

std::string zsh_completion() {
    std::string names, verbs;
    for (const VerbInfo& verb : kVerbs) {
        names += concat("        ", shell_word(concat(verb.name, ":", escaped(verb.does))), "\n");
        verbs += concat("        (", verb.name, ") options=(\n");
        for (const char* option : kOfAllVerbs) verbs += concat("            ", option, "\n");
        for_each_option(verb,
                        [&](const Row& row) { verbs += concat("            ", shell_word(spec_in_zsh(row)), "\n"); });
        if (verb.verb == Verb::info) verbs += "            '*:path:_files'\n";
        if (verb.verb == Verb::report) verbs += "            '*:run:_directories'\n";
        verbs += "        ) ;;\n";
    }
    return concat(R"(#compdef train_quaff
# Completion of train_quaff for zsh, made by: train_quaff completion zsh
_train_quaff() {
    local verb=train
    local -a verbs options
    verbs=(
)",
                  names, R"(    )
    if (( CURRENT == 2 )) && [[ $words[2] != -* ]]; then
        _describe verb verbs
        return
    fi
    case $words[2] in
        ()",
                  verb_names("|"), R"()
            verb=$words[2]
            shift words
            (( CURRENT-- )) ;;
    esac
    case $verb in
)",
                  verbs, R"(    esac
    _arguments $options
}
if [[ $funcstack[1] == _train_quaff ]]; then
    _train_quaff "$@"
else
    compdef _train_quaff train_quaff
fi
)");
}

}  // namespace quaff::cli
