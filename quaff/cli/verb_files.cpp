// The verbs that only read and write files; they compute nothing with a model.
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "llmc/core/error.h"
#include "llmc/io/text_input.h"
#include "quaff/cli/exit_status.h"
#include "quaff/cli/verb_functions.h"
#include "quaff/files/info.h"
#include "quaff/files/merge.h"
#include "quaff/run/open_model.h"

namespace quaff::cli {

int merge(const CommandLine& line, Terminal& terminal) {
    const Options& options = line.options;
    const MergeReport report = merge_adapter(options.model.folder, options.model.adapter, options.out);
    terminal.result(concat(counted(report.merged_layers, "layer"), " of ", options.model.folder,
                           report.merged_layers == 1 ? " now holds " : " now hold ", options.model.adapter, ": ",
                           options.out, " (", counted(report.files, "file"), ", ", format_bytes(report.bytes),
                           "; rounding ", format("%.1f", 100 * report.rounding), "% of the change)"));
    // Twelve steps of SmolLM2 in BF16 make this 66%, which an evaluation shows; the demo's 1050 make it 3%.
    if (report.rounding > 0.1)
        terminal.warn(concat("rounding the merged weights to the model's dtype adds an error of ",
                             static_cast<int>(std::lround(100 * report.rounding)),
                             "% of the adapter's change; to avoid it, use the adapter unmerged"));
    if (line.json)
        print_json({{"merged_layers", report.merged_layers},
                    {"files", report.files},
                    {"bytes", report.bytes},
                    {"rounding", report.rounding},
                    {"out", options.out}});
    return kDone;
}

int tokenize(const CommandLine& line) {
    const auto tokenizer = Tokenizer::load(line.options.model.folder);
    const auto print_ids = [&](const std::string& text) {
        print(stdout, nlohmann::json(tokenizer->encode(text)).dump() + "\n");
    };
    if (line.was_given("text")) print_ids(line.text);
    for (const std::string& file : line.options.data.files) {
        TextInput input(file);
        TextLines lines(input.stream(), input.name());
        // Until the reader has gone, or the disk is full.
        for (std::string text; !std::ferror(stdout) && lines.next(text);) print_ids(text);
    }
    return kDone;
}

int info(const CommandLine& line, Terminal& terminal) {
    const Options& options = line.options;
    const std::string path = !line.path.empty()               ? line.path
                             : !options.model.adapter.empty() ? options.model.adapter
                             : !options.outliers.file.empty() ? options.outliers.file
                                                              : options.model.folder;
    const nlohmann::ordered_json info = inspect(path);
    terminal.result(info_text(info));
    if (line.json) print_json(info);
    return kDone;
}

int show_tokens(const CommandLine& line, Terminal& terminal) {
    const Options& options = line.options;
    const ModelFiles files = open_model(options, terminal);
    const ExampleReader reader(options, files.config(), terminal);
    const bool calibrates = line.verb == Verb::calibrate && !options.outliers.data.empty();
    const auto files_of_data = calibrates ? std::vector{options.outliers.data} : options.data.files;
    const int64_t shown = reader.show(reader.read(files_of_data, /*keep_texts=*/false), line.show_tokens);
    if (line.json) print_json({{"shown", shown}});
    return kDone;
}

}  // namespace quaff::cli
