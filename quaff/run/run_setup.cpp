#include "quaff/run/run_setup.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>

#include "llmc/core/error.h"
#include "llmc/data/show_tokens.h"
#include "llmc/system/memory_limits.h"
#include "quaff/model/devices.h"
#include "quaff/model/rope_table.h"

namespace quaff {
namespace {

namespace fs = std::filesystem;

// `automatic` recomputation leaves this share of the available memory to everything that is not planned: data, stacks,
// the page cache that the checkpoint is read through.
constexpr double kPlannedShare = 0.9;
// What these take on the host at least.
constexpr int64_t kUnplanned = int64_t{64} << 20;
// A thread's stack, and the scratch of the libraries in it.
constexpr int64_t kOfThread = int64_t{12} << 20;

LoraConfig lora_of(const Adapter& adapter, double dropout) {
    LoraConfig lora = adapter.config();
    lora.lora_dropout = dropout;
    lora.target_modules.clear();
    for (const LoraAdapter& tensor : adapter.tensors()) {
        const std::string name = tensor.module.substr(tensor.module.rfind('.') + 1);
        if (std::find(lora.target_modules.begin(), lora.target_modules.end(), name) == lora.target_modules.end())
            lora.target_modules.push_back(name);
    }
    return lora;
}

std::vector<std::string> split_names(const std::string& names) {
    std::vector<std::string> parts;
    if (names == "all-linear") return parts;
    size_t begin = 0;
    while (begin <= names.size()) {
        const size_t end = std::min(names.find(',', begin), names.size());
        if (end > begin) parts.push_back(names.substr(begin, end - begin));
        begin = end + 1;
    }
    return parts;
}

// Empty: every linear.
std::vector<std::string> target_modules(const AdapterOptions& lora) {
    return split_names(lora.target_modules.value_or("all-linear"));
}

// One spelling of each choice of layers: last names in alphabetical order, or all-linear.
std::string canonical_targets(const std::vector<std::string>& names, const ModelConfig& config) {
    const auto last_name = [](const std::string& name) { return name.substr(name.rfind('.') + 1); };
    std::set<std::string> all, chosen;
    for_each_linear(config, [&](const JointLinear&, const LinearPart& part) { all.insert(last_name(part.name)); });
    for (const std::string& name : names) chosen.insert(last_name(name));
    if (chosen.empty() || chosen == all) return "all-linear";
    std::string text;
    for (const std::string& name : chosen) text += (text.empty() ? "" : ",") + name;
    return text;
}

// Without --model the demo's is meant, which is found from the repository's folder only.
const std::string& model_folder(const Options& options) {
    if (options.model.is_demo && !fs::exists(options.model.folder))
        throw UsageError(
            concat("the demo's model ", options.model.folder,
                   " is not here: run train_quaff in the repository's folder, or name a model with --model DIR"));
    return options.model.folder;
}

template <class Device>
OutlierChannels calibrate_on(const RunSetup& setup, const Device& device, const std::vector<Example>& examples,
                             const std::string& dataset, const Progress& progress) {
    const Options& options = setup.options();
    std::vector<Example> chosen;
    for (const int64_t i : sample_indices(static_cast<int64_t>(examples.size()), options.outliers.max_samples,
                                          static_cast<uint64_t>(options.compute.seed)))
        chosen.push_back(examples[static_cast<size_t>(i)]);
    std::vector<Batch> batches;
    for (const auto& indices : sequential_batches(chosen, options.data.batch_size))
        batches.push_back(pack(chosen, indices));
    CalibrationOptions calibration;
    calibration.strategy = options.outliers.strategy;
    calibration.threshold = options.outliers.threshold;
    calibration.max_ratio = MaxRatio(options.outliers.max_ratio);
    calibration.dataset = fs::path(dataset).stem().string();
    const int64_t layers = setup.config().num_hidden_layers;
    calibration.progress = [&](double fraction) {
        progress("calibrating", std::llround(fraction * static_cast<double>(layers)), layers);
    };
    setup.terminal().phase("calibrating on " + counted(static_cast<int64_t>(chosen.size()), "example"));
    OutlierChannels outliers = calibrate(device, setup.checkpoint(), batches, calibration);
    outliers.samples = static_cast<int64_t>(chosen.size());
    return outliers;
}

}  // namespace

RunSetup::RunSetup(const Options& options, Terminal& terminal)
    : options_(options), terminal_(terminal), checkpoint_(model_folder(options)) {
    const fs::path folder = options.model.folder;
    for (const std::string& note : checkpoint_.config().notes) terminal_.warn(note);
    if (fs::exists(folder / "tokenizer.json") || fs::exists(folder / "tokenizer.model"))
        tokenizer_ = Tokenizer::load(folder);
    if (options.data.chat_template == kOwnTemplate || (options.generation.chat && options.data.chat_template == kNoTemplate)) {
        prompt_template_ = ChatTemplate::of_model(folder);
        tell_note(*prompt_template_);
    } else if (options.data.chat_template != kNoTemplate) {
        prompt_template_ = ChatTemplate::named(options.data.chat_template);
    } else {
        try {
            own_template_ = ChatTemplate::of_model(folder);
        } catch (const Error& error) {
            why_no_template_ = error.what();  // told once somebody asks for it
        }
    }
}

const ChatTemplate& RunSetup::conversation_template() const {
    if (prompt_template_) return *prompt_template_;
    require(own_template_.has_value(), "a conversation needs a chat template. ", why_no_template_);
    std::call_once(note_told_, [this] { tell_note(*own_template_); });
    return *own_template_;
}

void RunSetup::tell_note(const ChatTemplate& own) const {
    if (!own.note().empty()) terminal_.warn(own.note());
}

TextEncoding RunSetup::encoding() const {
    TextEncoding encoding;
    if (!tokenizer_) return encoding;
    encoding.encode = [this](std::string_view text) { return tokenizer_->encode(text); };
    encoding.bos_id = tokenizer_->bos_id().value_or(config().bos_token_id.value_or(-1));
    encoding.eos_id =
        tokenizer_->eos_id().value_or(config().eos_token_ids.empty() ? -1 : config().eos_token_ids.front());
    encoding.adds_bos = tokenizer_->adds_bos();
    return encoding;
}

std::vector<int32_t> RunSetup::end_tokens() const {
    std::vector<int32_t> ids = config().eos_token_ids;
    if (tokenizer_ && tokenizer_->eos_id()) ids.push_back(*tokenizer_->eos_id());
    const auto& around = prompt_template_ ? prompt_template_ : own_template_;
    if (tokenizer_ && around && !around->end_of_turn().empty()) {
        const std::vector<int32_t> end = tokenizer_->encode(around->end_of_turn());
        const auto special = std::ranges::find_if(end, [&](int32_t id) { return tokenizer_->is_special(id); });
        if (special != end.end()) ids.push_back(*special);
    }
    return ids;
}

Dataset RunSetup::read(const std::string& path) const {
    ExampleOptions limits;
    limits.source_max_len = options_.data.source_max_len;
    limits.target_max_len = options_.data.target_max_len;
    limits.train_on_source = options_.data.train_on_source;
    limits.vocab_size = config().vocab_size;
    limits.max_positions = config().max_position_embeddings;
    limits.strict = options_.data.strict;
    PromptTemplate around;
    if (prompt_template_) {
        around = [this](const std::string& source, const std::string& target) {
            return prompt_template_->apply(source, target);
        };
    }
    const auto lay_out = [this](std::span<const Message> messages) {
        return conversation_template().lay_out(messages);
    };
    Dataset data = read_examples(path, encoding(), limits, around, lay_out);
    terminal_.line(concat(path, ": ", counted(data.size(), "example"), ", ", counted(data.n_tokens(), "token"), ", ",
                          format_count(data.n_labelled()), " of them in the loss"));
    if (data.dropped.total() > 0) terminal_.warn(concat(path, ": dropped ", data.dropped.describe()));
    if (data.skipped.count > 0) {
        terminal_.warn(concat(path, ": ", counted(data.skipped.count, "record"), " cannot be used and ",
                              data.skipped.count == 1 ? "is" : "are", " left out:"));
        for (const std::string& reason : data.skipped.reasons) terminal_.warn("  " + reason);
    }
    return data;
}

int64_t RunSetup::show(const Dataset& data, int64_t count) const {
    const auto text = [this](int32_t id) { return tokenizer_ ? tokenizer_->token_text(id) : std::string(); };
    terminal_.result(show_tokens(data.examples, count, text));
    return std::min(count, data.size());
}

Options with_lora_of_adapter(const Options& options) {
    // A resumed run has them from its own config.toml; the adapter it once began with may be gone.
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
    return with;
}

template <class Device>
FrozenLayers resolve_frozen_layers(const RunSetup& setup, const Device& device, const std::string& adapter,
                                   const std::vector<Example>& examples, const Progress& progress) {
    const Options& options = setup.options();
    FrozenLayers frozen;
    std::optional<QuaffState> state;
    if (!adapter.empty()) {
        frozen.adapter.emplace(adapter, setup.config());
        state = read_quaff_state(adapter, setup.config());
    } else {  // told before the channels are looked for, which takes a while
        require_known_targets(target_modules(options.lora), setup.config());
    }
    const bool channels_given = !options.outliers.file.empty() || !options.outliers.data.empty();
    if (options.compute.method) {
        frozen.method = *options.compute.method;
    } else if (state) {
        const std::optional<Method> own = parse_method(state->method);
        require(own.has_value(), adapter, "/quaff.json: method \"", state->method,
                "\" is not known to this program (quaff and fp are); give --method to choose one");
        frozen.method = *own;
    } else {
        frozen.method = channels_given ? Method::quaff : Method::fp;
    }
    if (frozen.method == Method::fp) {
        if (!options.compute.method && channels_given)
            setup.terminal().warn(concat(adapter, " was trained with --method fp: no use is made of --",
                                         options.outliers.file.empty() ? "cal-data" : "outliers",
                                         " (--method quaff would)"));
        return frozen;
    }

    // A resumed run goes on with what its checkpoint holds, whatever the channels once came from.
    const bool resumed = !options.training.resume.empty() && state && state->outliers;
    if (!resumed && !options.outliers.file.empty()) {
        frozen.outliers = read_outlier_channels(options.outliers.file, setup.config());
        // Layers and sizes fit; a folder may have been renamed.
        const std::string name = setup.checkpoint().name();
        if (!frozen.outliers.model.empty() && frozen.outliers.model != name)
            setup.terminal().warn(concat(options.outliers.file, " was made for the model ", frozen.outliers.model,
                                         ", and this one is called ", name));
    } else if (!resumed && !options.outliers.data.empty()) {
        const Dataset data = setup.read(options.outliers.data);
        frozen.outliers = calibrate_on(setup, device, data.examples, options.outliers.data, progress);
    } else if (state && state->outliers) {
        frozen.outliers = *state->outliers;
        frozen.scales = state->scales;
    } else if (!examples.empty()) {
        frozen.outliers = calibrate_on(setup, device, examples, options.data.file, progress);
        frozen.calibrated_on_examples = true;
    } else {
        throw UsageError(
            "--method quaff needs the outlier channels: give --outliers FILE, --cal-data FILE to find them, or an "
            "--adapter that was trained with it");
    }
    return frozen;
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

void allow_for_text(BatchLimits& limits, const ModelConfig& config, int64_t length) {
    if (config.max_position_embeddings > 0) length = std::min(length, config.max_position_embeddings);
    limits.max_sequence_length = std::max(limits.max_sequence_length, length);
    // Tokens go through the model one by one after the prompt, unless the text becomes a long one on the way
    // (Generator).
    const RopeTable rope(config, length);
    if (rope.is_long(length) != rope.is_long(1)) limits.max_tokens = std::max(limits.max_tokens, length);
}

BuildOptions build_options(const Options& options, const FrozenLayers& frozen, const BatchLimits& limits, bool training,
                           int64_t available_memory) {
    BuildOptions build;
    build.method = frozen.method;
    if (frozen.adapter) {
        build.lora = lora_of(*frozen.adapter, options.lora.dropout);
    } else {
        build.lora.r = options.lora.r.value_or(build.lora.r);
        build.lora.lora_alpha = options.lora.alpha.value_or(build.lora.lora_alpha);
        build.lora.lora_dropout = options.lora.dropout;
        build.lora.target_modules = target_modules(options.lora);
    }
    build.scale_momentum = options.compute.scale_momentum.value_or(build.scale_momentum);
    build.grad_bits = options.compute.grad_bits.value_or(build.grad_bits);
    build.seed = static_cast<uint64_t>(options.compute.seed);
    build.training = training;
    build.adapters = training || frozen.adapter.has_value();
    build.max_tokens = limits.max_tokens;
    build.max_sequence_length = limits.max_sequence_length;
    build.max_labelled = limits.max_labelled;
    build.recompute = options.compute.recompute;
    build.memory_limit =
        std::max<int64_t>(1, std::min(static_cast<int64_t>(kPlannedShare * static_cast<double>(available_memory)),
                                      available_memory - kUnplanned));
    return build;
}

template <class Device>
void require_room_to_begin(const Device& device) {
    if constexpr (std::is_same_v<Device, cpu::Device>) {
        const int64_t needed = kUnplanned + device.threads * kOfThread, room = address_space_room();
        require(needed <= room, "out of memory before the first step: ", format_bytes(needed), " of address space are ",
                "needed beside the model and RLIMIT_AS leaves ", format_bytes(room),
                "; raise it (ulimit -v), or lower --threads");
    }
}

template <class Device>
std::string lack_of_memory(const Device& device, const MemoryPlan& plan) {
    const int64_t available = device.available_memory();
    const int64_t more = std::is_same_v<Device, cpu::Device> ? kUnplanned : 0;
    const int64_t lack = plan.total() + more - available;
    if (lack <= 0) return "";
    return concat("the run needs ", format_bytes(plan.total()),
                  more > 0 ? " and " + format_bytes(more) + " beside it" : "", ", and ", format_bytes(available),
                  " are available. Much is ", plan.blame(lack));
}

template <class Device>
std::unique_ptr<Model<Device>> build_model(const RunSetup& setup, const Device& device, const FrozenLayers& frozen,
                                           const BuildOptions& build) {
    const Model<Device> planned(device, setup.checkpoint(), frozen.outliers, build, /*plan_only=*/true);
    const std::string lack = lack_of_memory(device, planned.plan());
    require(lack.empty(), "out of memory before the first step: ", lack, " (--plan shows what takes how much)");
    auto model = build_quantized_model(setup.checkpoint(), frozen.outliers, build, device);
    if (frozen.adapter) load_adapter(*model, *frozen.adapter);
    load_scales(*model, frozen.scales);
    return model;
}

template <class Device>
void save_adapter(const fs::path& folder, Model<Device>& model, const FrozenLayers& frozen, const Options& options) {
    save_adapter(folder, model, options.model.folder, frozen.outliers);
}

#define INSTANTIATE(Device)                                                                                  \
    template FrozenLayers resolve_frozen_layers(const RunSetup&, const Device&, const std::string&,          \
                                                const std::vector<Example>&, const Progress&);               \
    template std::string lack_of_memory(const Device&, const MemoryPlan&);                                   \
    template void require_room_to_begin(const Device&);                                                      \
    template std::unique_ptr<Model<Device>> build_model(const RunSetup&, const Device&, const FrozenLayers&, \
                                                        const BuildOptions&);                                \
    template void save_adapter(const fs::path&, Model<Device>&, const FrozenLayers&, const Options&);
QUAFF_FOR_EACH_DEVICE(INSTANTIATE)

}  // namespace quaff
