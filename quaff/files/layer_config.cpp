#include "quaff/files/layer_config.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "llmc/core/error.h"
#include "quaff/files/model_config.h"
#include "quaff/files/model_family.h"

namespace quaff {

using nlohmann::json;
using Window = Family::Window;

namespace {

// layer_types, or nothing. transformers has them since 4.53.
std::vector<std::string> read_layer_types(const JsonObject& config, int64_t num_hidden_layers) {
    if (!config.has("layer_types")) return {};
    std::vector<std::string> types = config.strings("layer_types");
    require(static_cast<int64_t>(types.size()) == num_hidden_layers, config.field("layer_types"), " has ", types.size(),
            " entries for ", num_hidden_layers, " layers");
    for (size_t i = 0; i < types.size(); ++i) {
        require(types[i] == kFullAttention || types[i] == kSlidingAttention, config.field("layer_types"),
                " makes layer ", i, " a ", types[i], " layer; supported are ", kFullAttention, " and ",
                kSlidingAttention);
    }
    return types;
}

// no_rope_layers[i] is 1 where RoPE IS applied. It may be longer than the model.
void read_layers_with_rope(const JsonObject& config, std::vector<LayerConfig>& layers) {
    const char* key = "no_rope_layers";
    if (!config.has(key)) {
        const int64_t interval = config.integer("no_rope_layer_interval", 1, kMaxPositions, 4);
        for (size_t i = 0; i < layers.size(); ++i) layers[i].has_rope = (static_cast<int64_t>(i) + 1) % interval != 0;
        return;
    }
    const std::vector<double> flags = config.numbers(key);
    require(flags.size() >= layers.size(), config.field(key), " has ", flags.size(), " entries for ", layers.size(),
            " layers");
    for (size_t i = 0; i < layers.size(); ++i) {
        require(flags[i] == 0 || flags[i] == 1, config.field(key),
                " must hold 1 (a layer with RoPE) and 0 (without), found ", flags[i]);
        layers[i].has_rope = flags[i] == 1;
    }
}

// Whether the window is switched on by a field of its own.
bool use_sliding_window(const Family& family) {
    return family.window == Window::upper_layers || family.window == Window::layers_without_rope;
}

// The window of the layers that have one; 0: none has.
int64_t read_window(const JsonObject& config, const Family& family) {
    if (family.window == Window::none) return 0;
    if (use_sliding_window(family) && !config.boolean("use_sliding_window", false)) return 0;
    return config.integer("sliding_window", 0, kMaxPositions,
                          config.contains("sliding_window") ? 0 : family.sliding_window);
}

// Which layers the window limits, where layer_types does not say.
std::vector<bool> layers_with_window(const JsonObject& config, const Family& family,
                                     const std::vector<LayerConfig>& layers) {
    std::vector<bool> limited(layers.size());
    const int64_t first_upper =
        family.window == Window::upper_layers ? config.integer("max_window_layers", 0, kMaxPositions, 28) : 0;
    // transformers 4 wrote the interval of Gemma 3. That of Gemma 2 is always the same.
    int64_t interval = family.full_layer_interval;
    if (family.rope_local_base_freq > 0)
        interval = config.integer("sliding_window_pattern", 1, kMaxPositions, interval);
    for (size_t i = 0; i < layers.size(); ++i) {
        const auto layer = static_cast<int64_t>(i);
        switch (family.window) {
            case Window::upper_layers:
                limited[i] = layer >= first_upper;
                break;
            case Window::layers_without_rope:
                limited[i] = !layers[i].has_rope;
                break;
            case Window::between_full_layers:
                limited[i] = (layer + 1) % interval != 0;
                break;
            case Window::none:
            case Window::everywhere:
                break;
        }
    }
    return limited;
}

}  // namespace

std::vector<LayerConfig> read_layers(const JsonObject& config, const Family& family, int64_t num_hidden_layers,
                                     std::vector<std::string>& notes) {
    std::vector<LayerConfig> layers(static_cast<size_t>(num_hidden_layers));
    if (family.skips_rope) read_layers_with_rope(config, layers);
    const std::vector<std::string> types = read_layer_types(config, num_hidden_layers);
    const int64_t window = read_window(config, family);
    if (family.window == Window::none || family.window == Window::everywhere) {
        for (LayerConfig& layer : layers) layer.sliding_window = window;
        const char* computed = window > 0 ? kSlidingAttention : kFullAttention;
        if (std::ranges::any_of(types, [&](const std::string& type) { return type != computed; }))
            notes.push_back(concat(config.field("layer_types"), " is ignored for ", family.model_type,
                                   ", as in transformers: all layers have ", computed));
        return layers;
    }
    const std::vector<bool> derived = layers_with_window(config, family, layers);
    for (size_t i = 0; i < layers.size(); ++i) {
        const bool slides = types.empty() ? derived[i] : types[i] == kSlidingAttention;
        require(!slides || window > 0 || use_sliding_window(family), config.field("sliding_window"),
                " is 0 or null, but layer ", i, " of a ", family.model_type, " model has a window");
        require(!slides || window > 0 || types.empty(), config.field("layer_types"), " makes layer ", i, " a ",
                kSlidingAttention, " layer, but use_sliding_window and sliding_window give it no window");
        if (!slides) continue;
        layers[i].sliding_window = window;
        layers[i].local_rope = family.rope_local_base_freq > 0;
    }
    return layers;
}

}  // namespace quaff
