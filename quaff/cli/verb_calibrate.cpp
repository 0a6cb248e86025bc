#include <nlohmann/json.hpp>

#include "llmc/core/error.h"
#include "llmc/io/file_io.h"
#include "quaff/cli/exit_status.h"
#include "quaff/cli/verb_functions.h"
#include "quaff/model/devices.h"
#include "quaff/run/open_model.h"
#include "quaff/run/outlier_file.h"

namespace quaff::cli {
namespace {

// For this verb --outliers names the file to write, and --cal-data stands for --data.
Options options_of_calibration(Options options) {
    options.compute.method = Method::quaff;
    options.outliers.file.clear();
    if (!options.outliers.data.empty()) options.data.files = {options.outliers.data};
    options.outliers.data.clear();
    return options;
}

}  // namespace

template <class Device>
int calibrate(const CommandLine& line, Terminal& terminal, const Device& device) {
    const std::string& file = line.options.outliers.file;
    if (!file.empty()) require_replaceable(file);
    const Options options = options_of_calibration(line.options);
    const ModelFiles files = open_model(options, terminal);
    const ExampleReader reader(options, files.config(), terminal);
    const Dataset examples = reader.read(options.data.files, /*keep_texts=*/false);
    StartingPoint start;
    start.calibration = Calibration::on_examples;
    find_outlier_channels(start, options, files, device, reader, examples.examples, terminal, show_progress(terminal));
    const OutlierChannels& outliers = start.outliers;

    const std::filesystem::path path = file.empty() ? default_outlier_path(outliers) : std::filesystem::path(file);
    if (device.comm->is_first()) {
        if (path.has_parent_path()) make_directories(path.parent_path());
        write_outlier_channels(path, outliers);
    }
    terminal.result(concat(path.string(), " holds ", counted(count_channels(outliers), "outlier channel"), " of ",
                           counted(std::ssize(outliers.channels), "layer"), "; use it with --outliers ",
                           path.string()));
    if (line.json) print_json(outliers_to_json(outliers));
    return kDone;
}

#define INSTANTIATE(Device) template int calibrate(const CommandLine&, Terminal&, const Device&);
QUAFF_FOR_EACH_DEVICE(INSTANTIATE)

}  // namespace quaff::cli
