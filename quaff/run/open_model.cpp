#include "quaff/run/open_model.h"

#include <filesystem>

#include "llmc/core/error.h"

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

}  // namespace quaff
