#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "llmc/core/error.h"
#include "quaff/cli/exit_status.h"
#include "quaff/cli/verb_functions.h"
#include "quaff/model/devices.h"
#include "quaff/run/answer_prompts.h"
#include "quaff/run/open_model.h"

namespace quaff::cli {

using nlohmann::ordered_json;

template <class Device>
int generate(const CommandLine& line, Terminal& terminal, const Device& device) {
    const Options& options = line.options;
    const ModelFiles files = open_model_to_run(options, terminal);
    const ExampleReader reader(options, files.config(), terminal);
    const std::vector<Prompt> prompts = read_prompts(options, files.config(), reader);
    std::FILE* out = line.json ? stderr : stdout;
    const auto show = [out](const std::string& piece) {
        print(out, piece);
        return !std::ferror(stdout);  // the reader has gone, or the disk is full
    };
    const std::vector<Continuation> answers =
        answer_prompts(options, files, device, reader, prompts, terminal, show_progress(terminal), show);

    const bool speechless = std::ranges::any_of(answers, [](const Continuation& answer) { return answer.ids.empty(); });
    if (speechless && !reader.chat().encoder())
        terminal.warn("the model ended its answer at once; does it want a chat template (--template)?");
    if (!line.json || answers.size() < prompts.size()) return kDone;
    ordered_json results = ordered_json::array();
    for (size_t i = 0; i < answers.size(); ++i)
        results.push_back({{"prompt", prompts[i].text},
                           {"text", answers[i].text},
                           {"prompt_tokens", prompts[i].ids.size()},
                           {"new_tokens", answers[i].ids.size()},
                           {"ids", answers[i].ids},
                           {"finish_reason", name_in(kFinishReasonNames, answers[i].finish_reason)}});
    const bool from_file = !options.generation.prompt_file.empty();
    print_json(from_file ? ordered_json{{"results", results}} : results[0]);
    return kDone;
}

#define INSTANTIATE(Device) template int generate(const CommandLine&, Terminal&, const Device&);
QUAFF_FOR_EACH_DEVICE(INSTANTIATE)

}  // namespace quaff::cli
