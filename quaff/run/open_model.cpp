#include "quaff/run/open_model.h"

#include <filesystem>

#include "llmc/core/error.h"
#include "quaff/files/adapter.h"

namespace quaff {

const std::string& model_folder(const Options& options) {
    if (options.model.is_demo && !std::filesystem::exists(options.model.folder))
        throw UsageError(
            concat("the demo's model ", options.model.folder,
                   " is not here: run train_quaff in the repository's folder, or name a model with --model DIR"));
    return options.model.folder;
}

ModelFiles open_model(const Options& options, Terminal& terminal) {
    ModelFiles files(model_folder(options));
    for (const std::string& note : files.config().notes) terminal.warn(note);
    return files;
}

ModelFiles open_model_to_run(const Options& options, Terminal& terminal) {
    if (options.model.adapter.empty() && options.training.resume.empty())
        require_no_adapter_inside(model_folder(options));
    return open_model(options, terminal);
}

}  // namespace quaff
