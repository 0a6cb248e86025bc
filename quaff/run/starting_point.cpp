#include "quaff/run/starting_point.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>

#include "llmc/core/error.h"
#include "llmc/data/sampler.h"
#include "llmc/io/text_input.h"
#include "quaff/files/quaff_json.h"
#include "quaff/model/calibrate.h"
#include "quaff/model/devices.h"
#include "quaff/run/open_model.h"

namespace quaff {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> split_names(const std::string& names) {
    std::vector<std::string> parts;
    if (names == "all-linear") return parts;
    size_t begin = 0;
    while (begin <= names.size()) {
        const size_t end = std::min(names.find(',', begin), names.size());
        const size_t first = std::min(names.find_first_not_of(' ', begin), end);
        const size_t last = names.find_last_not_of(' ', end - 1);
        if (end > first) parts.push_back(names.substr(first, last + 1 - first));
        begin = end + 1;
    }
    return parts;
}

std::string last_name(const std::string& name) {
    return name.substr(name.rfind('.') + 1);
}

LoraConfig lora_of(const Adapter& adapter, double dropout) {
    LoraConfig lora = adapter.config();
    lora.lora_dropout = dropout;
    lora.target_modules.clear();
    for (const LoraAdapter& tensor : adapter.tensors()) {
        const std::string name = last_name(tensor.module);
        if (std::ranges::find(lora.target_modules, name) == lora.target_modules.end())
            lora.target_modules.push_back(name);
    }
    return lora;
}

// "train", or "train+more" for several files.
std::string stems(const std::vector<std::string>& files) {
    std::string all;
    for (const std::string& file : files) {
        fs::path name = fs::path(file).filename();
        if (name.extension() == ".gz") name = name.stem();
        all += (all.empty() ? "" : "+") + (file == kStandardInput ? "stdin" : name.stem().string());
    }
    return all;
}

// For new adapters.
LoraConfig lora_of(const AdapterOptions& options) {
    LoraConfig lora;
    lora.r = options.r.value_or(lora.r);
    lora.lora_alpha = options.alpha.value_or(lora.lora_alpha);
    lora.lora_dropout = options.dropout;
    lora.target_modules = split_names(options.target_modules.value_or("all-linear"));
    return lora;
}

// One spelling of each choice of layers: last names in alphabetical order, or all-linear.
std::string canonical_targets(const std::vector<std::string>& names, const ModelConfig& config) {
    std::set<std::string> all, chosen;
    for_each_linear(config, [&](const JointLinear&, const LinearPart& part) { all.insert(last_name(part.name)); });
    for (const std::string& name : names) chosen.insert(last_name(name));
    if (chosen.empty() || chosen == all) return "all-linear";
    std::string text;
    for (const std::string& name : chosen) text += (text.empty() ? "" : ",") + name;
    return text;
}

// The option, else the method in quaff.json, else quaff where outlier channels are named.
Method method_of(const Options& options, const std::string& adapter, const std::optional<QuaffState>& state) {
    if (options.compute.method) return *options.compute.method;
    const bool names_channels = !options.outliers.file.empty() || !options.outliers.data.empty();
    if (!state) return names_channels ? Method::quaff : Method::fp;
    const std::optional<Method> own = parse_method(state->method);
    require(own.has_value(), adapter, "/quaff.json: method \"", state->method,
            "\" is not known to this program (quaff and fp are); give --method to choose one");
    return *own;
}

// Takes a setting of quaff.json as the default of an option, which may override it.
template <class Value>
void take_setting(const char* name, std::optional<Value>& option, Value own, const Options& options,
                  Terminal& terminal) {
    if (option && *option != own && options.compute.method != Method::fp)
        terminal.warn(concat("--", name, " ", *option, ": the adapter ", options.model.adapter, " was trained with ",
                             own, "; leave --", name, " out to keep that"));
    if (!option) option = own;
}

// What the adapter decides of how texts are laid out. Where the options ask for something else, Chat tells.
void take_chat(const ChatSettings& chat, DataOptions& data) {
    if (!data.chat_template) data.chat_template = chat.layout;
    if (!data.loss_on) data.loss_on = chat.loss_on;
    if (data.date.empty() && chat.date) data.date = to_text(*chat.date);
}

}  // namespace

Options with_options_of_adapter(const Options& options, Terminal& terminal) {
    // The adapter that a resumed run once began with may be gone.
    if (options.model.adapter.empty() || !options.training.resume.empty()) return options;
    const ModelConfig model = read_model_config(model_folder(options));
    const Adapter adapter(options.model.adapter, model);
    Options with = options;
    const auto take = [&](const char* name, auto& option, const auto& own) {
        if (option && *option != own)
            throw UsageError(concat("--", name, " ", *option, ": the adapter ", options.model.adapter, " has ", own,
                                    "; leave --", name, " out, or start without --adapter"));
        option = own;
    };
    take("lora-r", with.lora.r, adapter.config().r);
    take("lora-alpha", with.lora.alpha, adapter.config().lora_alpha);
    if (options.lora.target_modules)
        with.lora.target_modules = canonical_targets(split_names(*options.lora.target_modules), model);
    take("target-modules", with.lora.target_modules,
         canonical_targets(lora_of(adapter, options.lora.dropout).target_modules, model));
    if (const std::optional<QuaffState> state = read_quaff_state(options.model.adapter, model)) {
        take_setting("scale-momentum", with.compute.scale_momentum, state->scale_momentum, options, terminal);
        if (state->chat) take_chat(*state->chat, with.data);
        take_setting("grad-bits", with.compute.grad_bits, static_cast<int>(state->grad_bits), options, terminal);
    }
    return with;
}

StartingPoint starting_point(const Options& options, const ModelFiles& files, const std::string& adapter,
                             Terminal& terminal) {
    StartingPoint start;
    std::optional<QuaffState> state;
    if (!adapter.empty()) {
        start.adapter.emplace(adapter, files.config());
        state = read_quaff_state(adapter, files.config());
        start.lora = lora_of(*start.adapter, options.lora.dropout);
    } else {
        start.lora = lora_of(options.lora);
        require_known_targets(start.lora.target_modules, files.config());  // before calibration, which takes a while
    }
    start.method = method_of(options, adapter, state);
    start.scale_momentum =
        options.compute.scale_momentum.value_or(state ? state->scale_momentum : start.scale_momentum);
    start.grad_bits = options.compute.grad_bits.value_or(state ? static_cast<int>(state->grad_bits) : start.grad_bits);

    const std::string &file = options.outliers.file, &data = options.outliers.data;
    if (start.method == Method::fp) {
        if (!options.compute.method && (!file.empty() || !data.empty()))
            terminal.warn(concat("--", file.empty() ? "cal-data" : "outliers", " has no effect: ", adapter,
                                 " was trained with --method fp; --method quaff would use it"));
        return start;
    }

    const bool resumed = !options.training.resume.empty() && state && state->outliers;
    if (!resumed && !file.empty()) {
        start.outliers = read_outlier_channels(file, files.config());
        // Layers and sizes fit; a folder may have been renamed.
        if (!start.outliers.model.empty() && start.outliers.model != files.name())
            terminal.warn(concat(file, " was made for the model ", start.outliers.model, ", and this one is called ",
                                 files.name()));
    } else if (!resumed && !data.empty()) {
        start.calibration = Calibration::on_cal_data;
    } else if (state && state->outliers) {
        start.outliers = *state->outliers;
        start.scales = state->scales;
    } else {
        start.calibration = Calibration::on_examples;
    }
    return start;
}

template <class Device>
void find_outlier_channels(StartingPoint& start, const Options& options, const ModelFiles& files, const Device& device,
                           const ExampleReader& reader, std::span<const Example> examples, Terminal& terminal,
                           const Progress& progress) {
    if (start.calibration == Calibration::none) return;
    Dataset cal_data;
    std::vector<std::string> names = options.data.files;
    if (start.calibration == Calibration::on_cal_data) {
        names = {options.outliers.data};
        cal_data = reader.read(names, /*keep_texts=*/false);
        examples = cal_data.examples;
    }
    if (examples.empty())
        throw UsageError(
            "--method quaff needs the outlier channels: give --outliers FILE, --cal-data FILE to find them, or an "
            "--adapter that was trained with it");

    std::vector<Example> chosen;
    for (const int64_t i : sample_indices(std::ssize(examples), options.outliers.max_samples,
                                          static_cast<uint64_t>(options.compute.seed)))
        chosen.push_back(examples[static_cast<size_t>(i)]);
    std::vector<Batch> batches;
    for (const std::vector<int64_t>& positions : sequential_batches(chosen, options.data.batch_size))
        batches.push_back(pack(chosen, positions));

    CalibrationOptions calibration;
    calibration.strategy = options.outliers.strategy;
    calibration.threshold = options.outliers.threshold;
    calibration.max_ratio = MaxRatio(options.outliers.max_ratio);
    calibration.dataset = stems(names);
    const int64_t layers = files.config().num_hidden_layers;
    calibration.progress = [&](double fraction) {
        progress("calibrating", std::llround(fraction * static_cast<double>(layers)), layers);
    };
    terminal.phase("calibrating on " + counted(std::ssize(chosen), "example"));
    start.outliers = calibrate(device, files, batches, calibration);
    start.outliers.samples = std::ssize(chosen);
    start.calibration = Calibration::none;
}

void assume_most_outlier_channels(StartingPoint& start, const Options& options, const ModelConfig& config) {
    if (start.calibration == Calibration::none) return;
    start.outliers = most_outlier_channels(config, options.outliers.max_ratio);
    start.calibration = Calibration::none;
}

OutlierChannels most_outlier_channels(const ModelConfig& config, const std::string& max_ratio) {
    OutlierChannels most;
    const MaxRatio ratio(max_ratio);
    for (const JointLinear& module : all_joint_linears(config)) {
        std::vector<int32_t>& channels = most.channels[module.name];
        channels.resize(static_cast<size_t>(max_outliers(module.in_features, ratio.of(module.name))));
        for (size_t i = 0; i < channels.size(); ++i) channels[i] = static_cast<int32_t>(i);
    }
    return most;
}

#define INSTANTIATE(Device)                                                                               \
    template void find_outlier_channels(StartingPoint&, const Options&, const ModelFiles&, const Device&, \
                                        const ExampleReader&, std::span<const Example>, Terminal&, const Progress&);
QUAFF_FOR_EACH_DEVICE(INSTANTIATE)

}  // namespace quaff
