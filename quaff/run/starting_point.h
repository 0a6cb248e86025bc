// Where a run begins: how its frozen layers are computed, and the adapter it starts from.
//
//   method and its choices,
//   scale momentum, gradient bits           the option; else the adapter's quaff.json; else the default
//   outlier channels                        --outliers, --cal-data, the adapter's own, or the run's own examples
//
// A resumed run takes the channels of its checkpoint, whatever they once came from.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "llmc/data/examples.h"
#include "llmc/system/terminal.h"
#include "quaff/files/adapter.h"
#include "quaff/files/chat_settings.h"
#include "quaff/files/model_files.h"
#include "quaff/files/outliers.h"
#include "quaff/model/model.h"
#include "quaff/run/examples.h"
#include "quaff/run/options.h"

namespace quaff {

// Called now and then during long work; may throw to stop it.
using Progress = std::function<void(const std::string& what, int64_t done, int64_t total)>;

// What the outlier channels have yet to be found on, if anything.
enum class Calibration { none, on_cal_data, on_examples };

struct StartingPoint : MethodChoices {
    Method method = Method::fp;
    LoraConfig lora;
    double scale_momentum = 0.1;
    int grad_bits = 8;
    std::optional<Adapter> adapter;
    OutlierChannels outliers;                          // none if the method has none, or before they are found
    std::map<std::string, std::vector<float>> scales;  // s by layer; empty: as calibration leaves it
    Calibration calibration = Calibration::none;
    std::optional<ChatSettings> chat;  // how the run's texts are laid out; to be kept with its adapter
};

// The options of a run that starts from options.model.adapter, with the adapter's settings filled in: r, alpha and
// target modules, and from its quaff.json the method's choices, the scale momentum and the gradient bits.
// Throws UsageError if the options ask for another r, alpha or target modules, and warns if they ask for other values
// of the last two. A resumed run has all of them in its config.toml.
Options with_options_of_adapter(const Options& options, Terminal& terminal);

// Everything but the search for outlier channels. `adapter` may be empty. Warns if the options choose otherwise of
// the method than the adapter was trained with; for a resumed run that is a UsageError.
StartingPoint starting_point(const Options& options, const ModelFiles& files, const std::string& adapter,
                             Terminal& terminal);

// Calibrates where start.calibration says so: on --cal-data, or on `examples` of --data.
template <class Device>
void find_outlier_channels(StartingPoint& start, const Options& options, const ModelFiles& files, const Device& device,
                           const ExampleReader& reader, std::span<const Example> examples, Terminal& terminal,
                           const Progress& progress);

// Instead of a calibration, to plan memory: as many channels as one may find.
void assume_most_outlier_channels(StartingPoint& start, const Options& options, const ModelConfig& config);

// For every layer, as many channels as calibration may keep.
OutlierChannels most_outlier_channels(const ModelConfig& config, const std::string& max_ratio);

}  // namespace quaff
