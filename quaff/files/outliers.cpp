#include "quaff/files/outliers.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "llmc/core/error.h"
#include "llmc/io/file_io.h"
#include "llmc/io/json.h"

namespace quaff {

using nlohmann::json;
using nlohmann::ordered_json;

namespace {

constexpr const char* kJointNames[] = {"qkv_proj", "o_proj", "gate_up_proj", "down_proj"};

// The joint matrix that a LLaMA checkpoint's layer of this name is a part of, or "" for any other name.
std::string joint_of(const std::string& layer) {
    if (layer == "q_proj" || layer == "k_proj" || layer == "v_proj") return "qkv_proj";
    if (layer == "gate_proj" || layer == "up_proj") return "gate_up_proj";
    return "";
}

std::string last_part(const std::string& module) {
    return module.substr(module.rfind('.') + 1);  // npos + 1 is 0
}

// Every key of `lists` names a joint module of the model.
void check_names(const JsonObject& lists, const std::vector<JointLinear>& modules) {
    for (const auto& [name, _] : lists.tree().items()) {
        const bool known =
            std::any_of(modules.begin(), modules.end(), [&, &name = name](const auto& m) { return m.name == name; });
        if (known) continue;
        const std::string joint = joint_of(last_part(name));
        if (!joint.empty()) {
            fail(lists.field(name),
                 ": q, k, v and gate, up share their input and their outlier channels; give them once, under ",
                 name.substr(0, name.rfind('.') + 1), joint);
        }
        fail(lists.field(name), " is no layer of this model, whose layers are ", modules.front().name, " .. ",
             modules.back().name, "; the file belongs to another model");
    }
}

// Throws when the lists end before the model's layers do: the file belongs to a smaller model.
void check_layers(const JsonObject& object, const JsonObject& lists, const std::vector<JointLinear>& modules) {
    const auto is_there = [&](const JointLinear& module) { return lists.contains(module.name); };
    const auto found = std::find_if(modules.rbegin(), modules.rend(), is_there);
    if (found == modules.rend()) return;
    const auto layer = [](const std::string& name) { return name.substr(0, name.find('.', name.find("layers.") + 7)); };
    const std::string last = layer(found->name), expected = layer(modules.back().name);
    if (last == expected) return;
    const std::string model = object.string("model", "");
    fail(object.field("channels"), " has lists up to ", last, model.empty() ? "" : ", for the model \"" + model + "\"",
         ", but this model goes up to ", expected, "; the file seems to belong to another model");
}

std::vector<int32_t> read_channels(const JsonObject& lists, const JointLinear& module) {
    if (!lists.contains(module.name)) {
        fail(lists.field(module.name), " is missing; give an empty list if the layer has no outlier channel");
    }
    const json& list = lists.value(module.name);
    if (!list.is_array()) lists.fail_field(module.name, "a list of channels");
    std::vector<int32_t> channels;
    for (const json& channel : list) {
        const bool fits = channel.is_number_integer() && channel >= 0 && channel < module.in_features;
        require(fits, lists.field(module.name), " must hold channels from 0 to ", module.in_features - 1, ", found ",
                describe(channel));
        const auto c = channel.get<int32_t>();
        require(channels.empty() || c > channels.back(), lists.field(module.name),
                " must be ascending without repetition, found ", c, " after ", channels.empty() ? 0 : channels.back());
        channels.push_back(c);
    }
    return channels;
}

std::vector<float> read_max_abs(const JsonObject& lists, const std::string& module, size_t count) {
    if (!lists.contains(module)) fail(lists.field(module), " is missing, but the layer has channels");
    std::vector<float> values;
    for (const double value : lists.numbers(module)) {
        require(value >= 0 && value <= std::numeric_limits<float>::max(), lists.field(module),
                " must hold finite numbers that are not negative, found ", value);
        values.push_back(static_cast<float>(value));
    }
    require(values.size() == count, lists.field(module), " has ", values.size(), " values for ", count, " channels");
    return values;
}

// By layer, then as the layers of a block follow each other: "model.layers.10" after "model.layers.2".
std::vector<std::string> in_model_order(const std::map<std::string, std::vector<int32_t>>& channels) {
    const auto place = [](const std::string& name) {
        const size_t digits = name.find_first_of("0123456789");
        int64_t layer = 0;
        if (digits != name.npos) std::from_chars(name.data() + digits, name.data() + name.size(), layer);
        const auto* joint = std::find(std::begin(kJointNames), std::end(kJointNames), last_part(name));
        return std::pair(layer, joint - std::begin(kJointNames));
    };
    std::vector<std::string> names;
    for (const auto& [name, list] : channels) names.push_back(name);
    std::ranges::stable_sort(names, {}, place);
    return names;
}

double parse_ratio(std::string_view text, const std::string& whole) {
    double ratio = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), ratio);
    if (error != std::errc() || end != text.data() + text.size() || !(ratio >= 0 && ratio <= 1)) {
        throw UsageError(concat("--outlier-max-ratio ", whole, ": \"", text, "\" is not a number from 0 to 1"));
    }
    return ratio;
}

}  // namespace

OutlierChannels outliers_from_json(const JsonObject& object, const ModelConfig& config) {
    OutlierChannels result;
    result.model = object.string("model", "");
    result.strategy = object.string("strategy", "");
    result.dataset = object.string("dataset", "");
    result.threshold = object.number("threshold", 0, 1e30, 0);
    if (object.has("max_ratio")) {
        const json& ratio = object.value("max_ratio");
        if (!ratio.is_number() && !ratio.is_string()) object.fail_field("max_ratio", "a number or a string");
        result.max_ratio = ratio.is_string() ? ratio.get<std::string>() : ratio.dump();
    }
    result.samples = object.integer("samples", 0, std::numeric_limits<int64_t>::max(), 0);

    const std::vector<JointLinear> modules = all_joint_linears(config);
    require(object.has("channels"), object.field("channels"),
            " is missing, so this is no outlier file; `train_quaff calibrate` writes one");
    const JsonObject channels = object.object("channels");
    check_names(channels, modules);
    check_layers(object, channels, modules);
    for (const JointLinear& module : modules) result.channels[module.name] = read_channels(channels, module);
    if (object.has("max_abs")) {
        const JsonObject max_abs = object.object("max_abs");
        check_names(max_abs, modules);
        for (const auto& [name, list] : result.channels)
            result.max_abs[name] = read_max_abs(max_abs, name, list.size());
    }
    return result;
}

ordered_json outliers_to_json(const OutlierChannels& outliers) {
    const std::string& ratio = outliers.max_ratio;
    double number = 0;
    const auto [end, error] = std::from_chars(ratio.data(), ratio.data() + ratio.size(), number);
    const bool is_number = error == std::errc() && end == ratio.data() + ratio.size();
    ordered_json object = {
        {"model", outliers.model},           {"strategy", outliers.strategy},
        {"threshold", outliers.threshold},   {"max_ratio", is_number ? ordered_json(number) : ordered_json(ratio)},
        {"dataset", outliers.dataset},       {"samples", outliers.samples},
        {"channels", ordered_json::object()}};
    for (const std::string& name : in_model_order(outliers.channels)) {
        object["channels"][name] = outliers.channels.at(name);
        const auto maxima = outliers.max_abs.find(name);
        if (maxima == outliers.max_abs.end()) continue;
        ordered_json& list = object["max_abs"][name] = ordered_json::array();
        for (const float value : maxima->second) list.push_back(shortest_decimal(value));
    }
    return object;
}

int64_t count_channels(const OutlierChannels& outliers) {
    int64_t count = 0;
    for (const auto& [module, channels] : outliers.channels) count += std::ssize(channels);
    return count;
}

OutlierChannels read_outlier_channels(const std::filesystem::path& path, const ModelConfig& config) {
    const json tree = read_json(path);
    return outliers_from_json(JsonObject(tree, path.string()), config);
}

void write_outlier_channels(const std::filesystem::path& path, const OutlierChannels& outliers) {
    if (path.has_parent_path()) make_directories(path.parent_path());
    write_file_atomically(path, dump_pretty(outliers_to_json(outliers)));
}

MaxRatio::MaxRatio(const std::string& text) : text_(text) {
    const auto wrong = [&](const auto&... parts) {
        throw UsageError(concat("--outlier-max-ratio ", text, ": ", parts...));
    };
    bool has_rest = false;
    for (size_t begin = 0; begin <= text.size();) {
        const size_t comma = std::min(text.find(',', begin), text.size());
        std::string part = text.substr(begin, comma - begin);
        std::erase(part, ' ');
        begin = comma + 1;
        const size_t equals = part.find('=');
        if (equals == part.npos) {
            if (has_rest) wrong("gives two numbers without a module");
            rest_ = parse_ratio(part, text);
            has_rest = true;
            continue;
        }
        const std::string name = part.substr(0, equals);
        if (!joint_of(name).empty()) {
            wrong(name, " shares its input, and its outlier channels, with its neighbours; name them together: ",
                  joint_of(name));
        }
        if (std::find(std::begin(kJointNames), std::end(kJointNames), name) == std::end(kJointNames)) {
            wrong("there is no module ", name, "; there are qkv_proj, o_proj, gate_up_proj and down_proj");
        }
        if (!named_.emplace(name, parse_ratio(part.substr(equals + 1), text)).second) wrong("names ", name, " twice");
    }
}

double MaxRatio::of(const std::string& joint_module) const {
    const auto it = named_.find(last_part(joint_module));
    return it == named_.end() ? rest_ : it->second;
}

double parse_outlier_budget(const std::string& text) {
    if (text.empty()) return 0;
    const bool percent = text.ends_with('%');
    const char* end = text.data() + text.size() - percent;
    double budget = 0;
    const auto [stop, error] = std::from_chars(text.data(), end, budget);
    if (percent) budget /= 100;
    if (error != std::errc() || stop != end || !(budget > 0 && budget <= 1))
        throw UsageError(concat("--outlier-budget ", text, ": is not a share above 0 such as 1% or 0.01"));
    return budget;
}

int64_t max_outliers(int64_t in_features, double ratio) {
    if (ratio >= 1) return in_features;
    // 0.29 * 400 is 115.99.. in binary; the small addend makes it the 116 it is in decimal.
    return static_cast<int64_t>(std::floor(static_cast<double>(in_features) * ratio / 4 + 1e-9)) * 4;
}

}  // namespace quaff
