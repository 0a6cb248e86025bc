#include "quaff/files/rope_config.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>

#include "llmc/core/error.h"
#include "llmc/core/named.h"
#include "quaff/files/model_config.h"
#include "quaff/files/model_family.h"

namespace quaff {

using nlohmann::json;

namespace {

constexpr Named<RopeConfig::Type> kRopeTypes[] = {
    {"default", RopeConfig::Type::standard},  {"linear", RopeConfig::Type::linear},
    {"llama3", RopeConfig::Type::llama3},     {"yarn", RopeConfig::Type::yarn},
    {"longrope", RopeConfig::Type::longrope}, {"su", RopeConfig::Type::longrope}};

// Phi-3 knows one type beside the default, under all the names that it had.
RopeConfig::Type read_type(const JsonObject& rope, bool phi3) {
    const std::string field = rope.has("rope_type") ? "rope_type" : "type";
    const std::string name = rope.string(field, "default");
    const std::optional<RopeConfig::Type> known = value_in(kRopeTypes, name);
    require(known.has_value(), rope.field(field), " is \"", name,
            "\", which is not supported; supported are default, linear, llama3, yarn and longrope (also called su)");
    if (!phi3 || *known == RopeConfig::Type::standard) return *known;
    require(*known == RopeConfig::Type::longrope || *known == RopeConfig::Type::yarn, rope.field(field), " is \"", name,
            "\", but phi3 knows default and longrope (also called su and yarn) only");
    return RopeConfig::Type::longrope;
}

// longrope's factors: `count` positive numbers, one for each pair of channels that is turned.
std::vector<double> read_longrope_factors(const JsonObject& rope, const char* key, int64_t count) {
    std::vector<double> factors = rope.numbers(key);
    require(static_cast<int64_t>(factors.size()) == count, rope.field(key), " must have ", count,
            " values (half of the rotated channels of a head), found ", factors.size());
    for (const double factor : factors) {
        require(std::isfinite(factor) && factor > 0, rope.field(key), " must hold positive numbers, found ", factor);
    }
    return factors;
}

void read_llama3(RopeConfig& result, const JsonObject& rope) {
    result.low_freq_factor = rope.number("low_freq_factor", 1e-3, 1e6);
    result.high_freq_factor = rope.number("high_freq_factor", 1e-3, 1e6);
    require(result.low_freq_factor < result.high_freq_factor, rope.field("low_freq_factor"), " (",
            result.low_freq_factor, ") must be smaller than high_freq_factor (", result.high_freq_factor, ")");
}

// 0 stands for an absent number, as in transformers.
double number_or(const JsonObject& rope, const char* key, double absent) {
    const double value = rope.number(key, 0, 1e6, 0);
    return value > 0 ? value : absent;
}

void read_yarn(RopeConfig& result, const JsonObject& rope) {
    result.beta_fast = number_or(rope, "beta_fast", 32);
    result.beta_slow = number_or(rope, "beta_slow", 1);
    require(result.beta_slow <= result.beta_fast, rope.field("beta_slow"), " (", result.beta_slow,
            ") must not be larger than beta_fast (", result.beta_fast, ")");
    result.truncate = rope.boolean("truncate", true);
    const auto scale = [&](double m) { return result.factor > 1 ? 0.1 * m * std::log(result.factor) + 1 : 1; };
    const double mscale = number_or(rope, "mscale", 0), of_all = number_or(rope, "mscale_all_dim", 0);
    const double derived = mscale > 0 && of_all > 0 ? scale(mscale) / scale(of_all) : scale(1);
    result.attention_factor = rope.number("attention_factor", 1e-3, 1e3, derived);
}

void read_longrope(RopeConfig& result, const JsonObject& rope, int64_t rotary_dim, int64_t max_position_embeddings) {
    result.short_factor = read_longrope_factors(rope, "short_factor", rotary_dim / 2);
    result.long_factor = read_longrope_factors(rope, "long_factor", rotary_dim / 2);
    const auto original = static_cast<double>(result.original_max_position_embeddings);
    result.factor = rope.number("factor", 1e-3, 1e6, static_cast<double>(max_position_embeddings) / original);
    const double derived = result.factor > 1 ? std::sqrt(1 + std::log(result.factor) / std::log(original)) : 1;
    result.attention_factor = rope.number("attention_factor", 1e-3, 1e3, derived);
}

// transformers 5 writes rope_parameters, 4 wrote rope_scaling (null for none) with rope_theta and
// partial_rotary_factor beside it. When a file has both, transformers 5 lets rope_scaling win.
JsonObject parameters_of(const JsonObject& config) {
    static const json nothing = json::object();
    for (const char* key : {"rope_scaling", "rope_parameters"})
        if (config.has(key) && !config.value(key).empty()) return config.object(key);
    return {nothing, config.file(), "rope_scaling."};
}

// Of a family whose layers with a window turn by another RoPE, rope_parameters has an object for each kind, and
// rope_scaling is that of the full layers. transformers merges the two, and passes over what is in neither form.
void require_one_form(const JsonObject& config) {
    const char* key = "rope_parameters";
    if (!config.has(key) || config.value(key).empty()) return;
    require(!config.has("rope_scaling") || config.value("rope_scaling").empty(), config.field("rope_scaling"),
            " stands beside ", key, "; leave one of them out");
    for (const auto& [name, _] : config.value(key).items())
        require(name == kFullAttention || name == kSlidingAttention, config.object(key).field(name), " is neither ",
                kFullAttention, " nor ", kSlidingAttention, ", and transformers would not see it");
}

}  // namespace

const char* name_of(RopeConfig::Type type) {
    return name_in(kRopeTypes, type);
}

RopeConfig read_rope(const JsonObject& config, const ModelConfig& model) {
    const JsonObject both = parameters_of(config);
    const bool by_layer = family_of(model.architecture).rope_local_base_freq > 0;
    for (const char* layer_type : {kFullAttention, kSlidingAttention}) {
        require(!both.contains(layer_type) || by_layer, both.field(layer_type),
                ": a different RoPE per kind of layer is not supported for ", name_of(model.architecture));
    }
    if (by_layer) require_one_form(config);
    const JsonObject rope = both.has(kFullAttention) ? both.object(kFullAttention) : both;
    const auto beside = [&](const char* key) -> const JsonObject& { return rope.has(key) ? rope : config; };

    const bool phi3 = model.architecture == ModelConfig::Architecture::phi3;
    RopeConfig result;
    result.theta = beside("rope_theta").number("rope_theta", 1, 1e12, family_of(model.architecture).rope_theta);
    result.partial_rotary_factor = beside("partial_rotary_factor").number("partial_rotary_factor", 1e-3, 1, 1);
    result.type = read_type(rope, phi3);
    require(result.partial_rotary_factor == 1 || phi3, config.file(), ": \"partial_rotary_factor\" ",
            result.partial_rotary_factor, " is supported for phi3 only");
    ModelConfig with_rope = model;
    with_rope.rope = result;
    const int64_t rotary_dim = with_rope.rotary_dim();
    require(rotary_dim >= 2 && rotary_dim % 2 == 0, config.file(), ": RoPE turns pairs of channels, but head_dim ",
            model.head_dim, " x partial_rotary_factor ", result.partial_rotary_factor, " gives ", rotary_dim,
            " channels; an even number is needed");

    using Type = RopeConfig::Type;
    if (result.type == Type::llama3 || result.type == Type::yarn || result.type == Type::longrope) {
        // As in transformers: the field beside rope_scaling comes first, and a Phi-3 config always has it (4096).
        const char* key = "original_max_position_embeddings";
        const JsonObject& source = config.has(key) || phi3 ? config : rope;
        result.original_max_position_embeddings =
            source.integer(key, 2, kMaxPositions, phi3 ? 4096 : model.max_position_embeddings);
    }
    if (result.type == Type::linear || result.type == Type::llama3 || result.type == Type::yarn)
        result.factor = rope.number("factor", 1e-3, 1e6);
    if (result.type == Type::llama3) read_llama3(result, rope);
    if (result.type == Type::yarn) {
        require(result.theta > 1, beside("rope_theta").field("rope_theta"), " must be larger than 1 for yarn");
        read_yarn(result, rope);
    }
    if (result.type == Type::longrope) read_longrope(result, rope, rotary_dim, model.max_position_embeddings);
    require(result.type != Type::longrope || !by_layer, rope.field("rope_type"), " is longrope, which ",
            name_of(model.architecture), " does not support");
    return result;
}

RopeConfig read_local_rope(const JsonObject& config, const ModelConfig& model) {
    RopeConfig result = model.rope;
    const double absent = family_of(model.architecture).rope_local_base_freq;
    if (absent == 0) return result;
    result = {};
    const JsonObject both = parameters_of(config);
    result.theta = config.number("rope_local_base_freq", 1, 1e12, absent);
    if (!both.has(kSlidingAttention)) return result;
    const JsonObject rope = both.object(kSlidingAttention);
    result.theta = rope.number("rope_theta", 1, 1e12, result.theta);
    require(read_type(rope, false) == RopeConfig::Type::standard, rope.field("rope_type"),
            " must be default: layers with a window are not stretched");
    require(rope.number("partial_rotary_factor", 1e-3, 1, 1) == 1, rope.field("partial_rotary_factor"),
            " is supported for phi3 only");
    return result;
}

}  // namespace quaff
