#include "quaff/run/starting_point.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>

#include "llmc/core/error.h"
#include "llmc/data/sampler.h"
#include "llmc/io/json.h"
#include "llmc/io/text_input.h"
#include "quaff/files/quaff_json.h"
#include "quaff/model/calibrate.h"
#include "quaff/model/devices.h"
#include "quaff/run/method_settings.h"
#include "quaff/run/open_model.h"

namespace quaff {
namespace {

namespace fs = std::filesystem;

constexpr const char* kTargetOption = "--target-modules";

std::vector<std::string> split_names(const std::string& names) {
    std::vector<std::string> parts;
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

// all-linear, names with commas between them, or a regular expression. Throws UsageError unless each is of `model`.
ModuleNames parse_targets(const std::string& text, const ModelConfig& model) {
    if (text == "all-linear") return {};
    try {
        if (is_expression(text)) return ModuleNames(ModulePattern::whole(text, kTargetOption));
        const std::vector<std::string> names = split_names(text);
        require(!names.empty(), kTargetOption, " names no layer");
        require_known_targets(names, model, kTargetOption);
        return names;
    } catch (const Error& error) {
        throw UsageError(error.what());
    }
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
LoraConfig lora_of(const AdapterOptions& options, const ModelConfig& model) {
    LoraConfig lora;
    lora.r = options.r.value_or(lora.r);
    lora.lora_alpha = options.alpha.value_or(lora.lora_alpha);
    lora.lora_dropout = options.dropout;
    lora.use_rslora = options.use_rslora.value_or(false);
    lora.target_modules = parse_targets(options.target_modules.value_or("all-linear"), model);
    leave_out_other_towers(lora, model);
    try {
        require_linear_targets(lora, model, kTargetOption);
    } catch (const Error& error) {
        throw UsageError(error.what());
    }
    return lora;
}

// One spelling of each choice of layers: the expression; last names in alphabetical order, or all-linear; the names as
// they are where they choose among the blocks.
std::string canonical_targets(const ModuleNames& names, const ModelConfig& model) {
    if (names.expression()) return names.expression()->text();
    std::set<std::string> all, chosen, left_out;
    for_each_linear(model, [&](const JointLinear&, const LinearPart& part) {
        const std::string last = part.name.substr(part.name.rfind('.') + 1);
        all.insert(last);
        (names.empty() || names.match(part.name) ? chosen : left_out).insert(last);
    });
    if (chosen == all && left_out.empty()) return "all-linear";
    const bool same_in_all = std::ranges::none_of(chosen, [&](const auto& name) { return left_out.contains(name); });
    if (!same_in_all) chosen = {names.list().begin(), names.list().end()};
    std::string text;
    for (const std::string& name : chosen) text += (text.empty() ? "" : ",") + name;
    return text;
}

// The option, else the method in quaff.json, else quaff where outlier channels are named. Tells where layers are to
// be quantised in another way than the adapter was trained with; full precision instead is a usual choice.
Method method_of(const Options& options, const std::string& adapter, const std::optional<QuaffState>& state,
                 Terminal& terminal) {
    if (const std::optional<Method> chosen = options.compute.method) {
        const std::optional<Method> own = state ? parse_method(state->method) : std::nullopt;
        if (own && *own != *chosen && *own != Method::fp && *chosen != Method::fp)
            terminal.warn(concat("the method is ", name_of(*chosen), ", and the adapter ", adapter,
                                 " was trained with ", name_of(*own), "; --method ", name_of(*own), " keeps that"));
        return *chosen;
    }
    const bool names_channels = !options.outliers.file.empty() || !options.outliers.data.empty();
    if (!state) return names_channels ? Method::quaff : Method::fp;
    const std::optional<Method> own = parse_method(state->method);
    require(own.has_value(), adapter, "/quaff.json: method \"", state->method, "\" is not known to this program (",
            names_in(kMethodNames), " are); give --method to choose one");
    return *own;
}

// What the adapter's quaff.json says of the choices of a method, if the one it was trained with heeds the same.
std::optional<MethodChoices> own_choices(const std::optional<QuaffState>& state, Method method) {
    const std::optional<Method> own = state ? parse_method(state->method) : std::nullopt;
    const auto has_channels = [](Method one) { return linear_method(one).has_chosen_channels(); };
    const auto both = [&](auto heeds) { return heeds(*own) && heeds(method); };
    if (!own || !(both(has_channels) || both(has_threshold) || both(has_smoothing))) return std::nullopt;
    return *state;
}

// Settles the choices of a method: each by the option, else the adapter's own, else the default. A run that is resumed
// keeps the adapter's.
class Chooser {
  public:
    Chooser(const Options& options, const std::string& adapter, Terminal& terminal)
        : adapter_(adapter), resumed_(!options.training.resume.empty()), terminal_(terminal) {}

    // value: the default on entry. own: null if the adapter has none. text: how a value is written.
    template <class Value, class Option, class Text>
    void settle(const char* name, Value& value, const std::optional<Option>& option, const Value* own,
                const Text& text) const {
        if (own) value = *own;
        if (!option || static_cast<Value>(*option) == value) return;
        const auto asked = static_cast<Value>(*option);
        if (own) {
            const std::string differs =
                concat("--", name, " ", text(asked), ": the adapter ", adapter_, " was trained with ", text(*own),
                       "; leave --", name, " out to keep that");
            if (resumed_) throw UsageError(differs);
            terminal_.warn(differs);
        }
        value = asked;
    }

  private:
    const std::string& adapter_;
    bool resumed_;
    Terminal& terminal_;
};

void settle_choices(StartingPoint& start, const Options& options, const std::string& adapter,
                    const std::optional<QuaffState>& state, Terminal& terminal) {
    const std::optional<MethodChoices> adapters = own_choices(state, start.method);
    const Chooser chooser(options, adapter, terminal);
    const auto own = [&](auto member) { return adapters ? &((*adapters).*member) : nullptr; };
    const auto number = [](float value) { return concat(value); };
    const ComputeOptions& asked = options.compute;
    if (start.method == Method::quaff) {
        chooser.settle("rotation", start.rotation, asked.rotation, own(&MethodChoices::rotation),
                       [](bool value) { return name_in(kOnOffNames, value); });
        chooser.settle("outlier-term", start.outlier_term, asked.outlier_term, own(&MethodChoices::outlier_term),
                       [](OutlierTerm value) { return name_in(kOutlierTermNames, value); });
        float strength = *linear_method(start.method, start).scale_strength;
        chooser.settle("scale-strength", strength, asked.scale_strength,
                       adapters ? &*adapters->scale_strength : nullptr, number);
        start.scale_strength = strength;
    }
    if (has_threshold(start.method))
        chooser.settle("int8-threshold", start.int8_threshold, asked.int8_threshold,
                       own(&MethodChoices::int8_threshold), number);
    if (has_smoothing(start.method))
        chooser.settle("smooth-alpha", start.smooth_alpha, asked.smooth_alpha, own(&MethodChoices::smooth_alpha),
                       number);
}

// Choices that the adapter's method, which no option names, does not heed.
void tell_unheeded(Method method, const ComputeOptions& asked, Terminal& terminal) {
    const auto tell = [&](const char* name, bool given, bool heeded, const char* methods) {
        if (given && !heeded)
            terminal.warn(concat("--", name, " has no effect with the method ", name_of(method),
                                 "; it is for --method ", methods));
    };
    const bool is_quaff = method == Method::quaff;
    tell("rotation", asked.rotation.has_value(), is_quaff, "quaff");
    tell("outlier-term", asked.outlier_term.has_value(), is_quaff, "quaff");
    tell("scale-strength", asked.scale_strength.has_value(), is_quaff, "quaff");
    tell("int8-threshold", asked.int8_threshold.has_value(), has_threshold(method), "llm-int8");
    tell("smooth-alpha", asked.smooth_alpha.has_value(), has_smoothing(method), "smooth-static and smooth-dynamic");
}

// Where the outlier channels come from: a file, the adapter, or a calibration that is yet to run.
void choose_channels(StartingPoint& start, const Options& options, const ModelFiles& files,
                     const std::optional<QuaffState>& state, Terminal& terminal) {
    const std::string &file = options.outliers.file, &data = options.outliers.data;
    const std::optional<Method> adapters = state ? parse_method(state->method) : std::nullopt;
    const bool fits =
        adapters == start.method || (!has_own_channels(start.method) && adapters != Method::smooth_static);
    const bool has_own = fits && state && state->outliers;
    const bool resumed = !options.training.resume.empty() && has_own;
    if (!resumed && !file.empty()) {
        start.outliers = read_outlier_channels(file, files.config());
        require_channels_of(start.method, start.outliers, file);
        // Layers and sizes fit; a folder may have been renamed.
        if (!start.outliers.model.empty() && start.outliers.model != files.name())
            terminal.warn(concat(file, " was made for the model ", start.outliers.model, ", and this one is called ",
                                 files.name()));
    } else if (!resumed && !data.empty()) {
        start.calibration = Calibration::on_cal_data;
    } else if (has_own) {
        start.outliers = *state->outliers;
        start.scales = state->scales;
    } else {
        start.calibration = Calibration::on_examples;
    }
}

// Takes a setting of quaff.json as the default of an option, which may override it.
template <class Value>
void take_setting(const char* name, std::optional<Value>& option, Value own, const Options& options,
                  Terminal& terminal) {
    const bool counts = !options.compute.method || linear_method(*options.compute.method).int8;
    if (option && *option != own && counts)
        terminal.warn(concat("--", name, " ", *option, ": the adapter ", options.model.adapter, " was trained with ",
                             own, "; leave --", name, " out to keep that"));
    if (!option) option = own;
}

// How many outlier channels calibration found.
void tell_channels(Method method, const OutlierChannels& outliers, Terminal& terminal) {
    const int64_t channels = count_channels(outliers);
    if (method == Method::smooth_static)
        return terminal.line(concat("found the largest |X| of ", counted(channels, "channel"), " in ",
                                    counted(std::ssize(outliers.channels), "layer")));
    terminal.line(concat("found ", counted(channels, "outlier channel"), " in ",
                         counted(std::ssize(outliers.channels), "layer"), " by ", outliers.strategy));
    if (channels == 0)
        terminal.warn(concat("without outlier channels the layers are as with --method naive; ",
                             method == Method::quaff_paper
                                 ? "choose --method quaff, which keeps more of them"
                                 : "raise --outlier-max-ratio or --outlier-budget, which count whole groups of "
                                   "four channels, lower --outlier-threshold, or take another --outlier-strategy"));
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
            throw UsageError(concat(std::boolalpha, "--", name, " ", *option, ": the adapter ", options.model.adapter,
                                    " has ", own, "; leave --", name, " out, or start without --adapter"));
        option = own;
    };
    take("lora-r", with.lora.r, adapter.config().r);
    take("lora-alpha", with.lora.alpha, adapter.config().lora_alpha);
    take("use-rslora", with.lora.use_rslora, adapter.config().use_rslora);
    if (options.lora.target_modules)
        with.lora.target_modules = canonical_targets(parse_targets(*options.lora.target_modules, model), model);
    take("target-modules", with.lora.target_modules, canonical_targets(adapter.config().target_modules, model));
    if (const std::optional<QuaffState> state = read_quaff_state(options.model.adapter, model)) {
        if (const auto own = parse_method(state->method); own && linear_method(*own).has_scales())
            take_setting("scale-momentum", with.compute.scale_momentum, state->scale_momentum, options, terminal);
        if (state->chat) take_chat(*state->chat, with.data);
        take_setting("grad-bits", with.compute.grad_bits, static_cast<int>(state->grad_bits), options, terminal);
        const std::optional<Method> method =
            options.compute.method ? options.compute.method : parse_method(state->method);
        if (const auto own = method ? own_choices(state, *method) : std::nullopt) {
            // starting_point() tells where the options ask for something else.
            ComputeOptions& compute = with.compute;
            const auto number = [](std::optional<double>& option, float value) {
                if (!option) option = shortest_decimal(value);
            };
            if (*method == Method::quaff) {
                if (!compute.rotation) compute.rotation = own->rotation;
                if (!compute.outlier_term) compute.outlier_term = own->outlier_term;
                number(compute.scale_strength, *own->scale_strength);
            }
            if (has_threshold(*method)) number(compute.int8_threshold, own->int8_threshold);
            if (has_smoothing(*method)) number(compute.smooth_alpha, own->smooth_alpha);
        }
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
        for (const std::string& note : start.adapter->notes()) terminal.warn(note);
        start.lora = start.adapter->config();
        start.lora.lora_dropout = options.lora.dropout;
    } else {
        start.lora = lora_of(options.lora, files.config());
    }
    start.method = method_of(options, adapter, state, terminal);
    start.scale_momentum =
        options.compute.scale_momentum.value_or(state ? state->scale_momentum : start.scale_momentum);
    start.grad_bits = options.compute.grad_bits.value_or(state ? static_cast<int>(state->grad_bits) : start.grad_bits);
    settle_choices(start, options, adapter, state, terminal);
    if (!options.compute.method) tell_unheeded(start.method, options.compute, terminal);
    if (linear_method(start.method).outliers) {
        choose_channels(start, options, files, state, terminal);
    } else if (const OutlierOptions& named = options.outliers;
               !options.compute.method && (!named.file.empty() || !named.data.empty())) {
        terminal.warn(concat("--", named.file.empty() ? "cal-data" : "outliers", " has no effect: ", adapter,
                             " was trained with --method ", name_of(start.method), "; --method quaff would use it"));
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
        throw UsageError(concat("--method ", name_of(start.method),
                                " needs the outlier channels: give --outliers FILE, --cal-data ",
                                "FILE to find them, or an --adapter that was trained with it"));

    std::vector<Example> chosen;
    for (const int64_t i : sample_indices(std::ssize(examples), options.outliers.max_samples,
                                          static_cast<uint64_t>(options.compute.seed)))
        chosen.push_back(examples[static_cast<size_t>(i)]);
    std::vector<Batch> batches;
    for (const std::vector<int64_t>& positions : sequential_batches(chosen, options.data.batch_size))
        batches.push_back(pack(chosen, positions));

    const OutlierOptions how = outlier_options(options, start.method);
    CalibrationOptions calibration;
    calibration.strategy = how.strategy;
    calibration.threshold = how.threshold;
    calibration.max_ratio = MaxRatio(how.max_ratio);
    calibration.budget = parse_outlier_budget(how.budget);
    calibration.rotation = linear_method(start.method, start).rotation;
    calibration.dataset = stems(names);
    const int64_t layers = files.config().num_hidden_layers;
    calibration.progress = [&](double fraction) {
        progress("calibrating", std::llround(fraction * static_cast<double>(layers)), layers);
    };
    terminal.phase("calibrating on " + counted(std::ssize(chosen), "example"));
    start.outliers = calibrate(device, files, batches, calibration);
    start.outliers.samples = std::ssize(chosen);
    start.calibration = Calibration::none;
    tell_channels(start.method, start.outliers, terminal);
    if (calibration.budget > 0) terminal.line("their shares of a layer's input: " + start.outliers.max_ratio);
}

void assume_most_outlier_channels(StartingPoint& start, const Options& options, const ModelConfig& config) {
    if (start.calibration == Calibration::none) return;
    const OutlierOptions how = outlier_options(options, start.method);
    start.outliers =
        most_outlier_channels(config, how.budget.empty() ? how.max_ratio : concat(parse_outlier_budget(how.budget)));
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
