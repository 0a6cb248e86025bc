// What the verbs share before the first pass of a model: its checkpoint and tokenizer, the examples, and how its frozen
// layers are computed, which an adapter brings along in its quaff.json.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "llmc/data/examples.h"
#include "llmc/data/sampler.h"
#include "llmc/system/terminal.h"
#include "llmc/tokenizer/chat_template.h"
#include "llmc/tokenizer/tokenizer.h"
#include "quaff/files/adapter.h"
#include "quaff/files/quaff_json.h"
#include "quaff/quaff.h"
#include "quaff/run/options.h"

namespace quaff {

// Called now and then by whatever takes long; may throw to stop it.
using Progress = std::function<void(const std::string& what, int64_t done, int64_t total)>;

class RunSetup {
  public:
    RunSetup(const Options& options, Terminal& terminal);

    const Options& options() const { return options_; }
    Terminal& terminal() const { return terminal_; }
    const ModelFiles& checkpoint() const { return checkpoint_; }
    const ModelConfig& config() const { return checkpoint_.config(); }
    const Tokenizer* tokenizer() const { return tokenizer_.get(); }  // null: the model's folder has none
    TextEncoding encoding() const;
    // The config's, the tokenizer's, and what ends a turn of the prompt template.
    std::vector<int32_t> end_tokens() const;
    // --template, or the model's own for --chat; nothing otherwise.
    const std::optional<ChatTemplate>& prompt_template() const { return prompt_template_; }
    // The one that lays out conversations: --template, or the model's own. Throws Error when there is neither.
    const ChatTemplate& conversation_template() const;

    // Reads a data file under the options' limits and tells what was left out of it.
    Dataset read(const std::string& path) const;
    // The first `count` examples token by token; returns how many there were.
    int64_t show(const Dataset& data, int64_t count) const;

  private:
    void tell_note(const ChatTemplate& own) const;

    const Options& options_;
    Terminal& terminal_;
    ModelFiles checkpoint_;
    std::unique_ptr<Tokenizer> tokenizer_;
    std::optional<ChatTemplate> prompt_template_, own_template_;
    std::string why_no_template_;       // of its own
    mutable std::once_flag note_told_;  // of its own, which the first conversation asks for
};

// The options of a training run with r, alpha and target modules of the adapter that it starts from. Throws UsageError
// where they were given otherwise.
Options with_lora_of_adapter(const Options& options);

// How the frozen layers are computed, and the adapter to begin with.
struct FrozenLayers {
    Method method = Method::fp;
    OutlierChannels outliers;                          // without channels for Method::fp
    std::map<std::string, std::vector<float>> scales;  // s by layer; empty: as calibration left it
    std::optional<Adapter> adapter;
    bool calibrated_on_examples = false;  // nothing named the outlier channels or what to find them on
};

// `adapter` may be empty. Calibrates when nothing names the outlier channels, on --cal-data or else on `examples`.
template <class Device>
FrozenLayers resolve_frozen_layers(const RunSetup& setup, const Device& device, const std::string& adapter,
                                   const std::vector<Example>& examples, const Progress& progress);

// The channels of a layer that calibration will keep at most, for planning memory before there was a calibration.
OutlierChannels most_outlier_channels(const ModelConfig& config, const std::string& max_ratio);

// Room for a text that grows to `length` tokens, or to as many as the model has positions, from a prompt that has room.
void allow_for_text(BatchLimits& limits, const ModelConfig& config, int64_t length);

// available_memory: bytes on the device.
BuildOptions build_options(const Options& options, const FrozenLayers& frozen, const BatchLimits& limits, bool training,
                           int64_t available_memory);

// Throws where a limit on the address space leaves no room for threads and libraries: they would not fail in words.
template <class Device>
void require_room_to_begin(const Device& device);

// What a plan needs and the device lacks, and which part of it is large, in words; empty where there is enough.
template <class Device>
std::string lack_of_memory(const Device& device, const MemoryPlan& plan);

// Throws Error when the plan needs more memory than there is. Adapter and scales are those of `frozen`.
template <class Device>
std::unique_ptr<Model<Device>> build_model(const RunSetup& setup, const Device& device, const FrozenLayers& frozen,
                                           const BuildOptions& build);

// The three files of an adapter, into `folder`.
template <class Device>
void save_adapter(const std::filesystem::path& folder, Model<Device>& model, const FrozenLayers& frozen,
                  const Options& options);

}  // namespace quaff
