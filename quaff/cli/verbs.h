// The verbs of the command line. A verb's row says what it needs before it can run; run_verb() runs it.
#pragma once

#include <cstddef>
#include <iterator>
#include <string_view>

#include "llmc/system/terminal.h"
#include "quaff/cli/exit_status.h"

namespace quaff::cli {

struct CommandLine;

enum class Verb { train, calibrate, eval, compare, generate, merge, tokenize, report, info };

struct Needs {
    bool device = false;     // it computes with a model, or plans to; otherwise no GPU is looked for
    bool all_ranks = false;  // otherwise the first rank does it alone
    bool examples = false;   // with a model other than the demo's, --data must name them
};

struct VerbInfo {
    Verb verb;
    const char* name;
    const char* does;
    Needs needs;
    bool adapter_decides_method = false;  // without --method, the adapter's is used; otherwise quaff is
};

inline constexpr VerbInfo kVerbs[] = {
    {Verb::train,
     "train",
     "quantise, evaluate, train, evaluate, save the adapter (the default)",
     {.device = true, .all_ranks = true, .examples = true}},
    {Verb::calibrate,
     "calibrate",
     "write the outlier channels of a model to a JSON file",
     {.device = true, .all_ranks = true, .examples = true}},
    {Verb::eval,
     "eval",
     "loss, perplexity, token accuracy of a model, with or without an adapter",
     {.device = true, .all_ranks = true, .examples = true},
     /*adapter_decides_method=*/true},
    {Verb::compare,
     "compare",
     "every method on the same model and data: KL to full precision, loss, seconds and memory of a step",
     {.examples = true}},
    {Verb::generate,
     "generate",
     "text from a prompt, or from each line of a file",
     {.device = true},
     /*adapter_decides_method=*/true},
    {Verb::merge, "merge", "fold an adapter into the weights and write a Hugging Face model", {}},
    {Verb::tokenize, "tokenize", "the token ids of a text, or of each line of a file", {}},
    {Verb::report, "report", "the curves of one run, or of several over each other, as a page: report RUN..", {}},
    {Verb::info, "info", "what a model, adapter, outlier file or checkpoint holds; --plan: the memory of a run", {}},
};

// Two options replace the verb's own work.
inline constexpr Needs kPlan{.device = true, .examples = true};  // --plan
inline constexpr Needs kShowTokens{.examples = true};            // --show-tokens

constexpr const VerbInfo& info_of(Verb verb) {
    return kVerbs[static_cast<size_t>(verb)];
}
constexpr bool verbs_are_in_order() {
    for (size_t i = 0; i < std::size(kVerbs); ++i)
        if (static_cast<size_t>(kVerbs[i].verb) != i) return false;
    return true;
}
static_assert(verbs_are_in_order());

constexpr bool is_verb(std::string_view name) {
    for (const VerbInfo& verb : kVerbs)
        if (verb.name == name) return true;
    return false;
}

// Runs line.verb on a device and returns the exit status. Throws llmc::Error and llmc::UsageError with a sentence for
// the user.
template <class Device>
int run_verb(const CommandLine& line, llmc::Terminal& terminal, const Device& device);

}  // namespace quaff::cli
