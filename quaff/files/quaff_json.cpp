#include "quaff/files/quaff_json.h"

#include <limits>
#include <nlohmann/json.hpp>

#include "llmc/core/error.h"
#include "llmc/io/file_io.h"
#include "llmc/io/json.h"
#include "llmc/io/path.h"

namespace quaff {

using nlohmann::json;
using nlohmann::ordered_json;

void write_quaff_state(const std::filesystem::path& adapter_directory, const QuaffState& state) {
    ordered_json object = {{"method", state.method},
                           {"rotation", state.rotation},
                           {"outlier_term", name_in(kOutlierTermNames, state.outlier_term)},
                           {"scale_momentum", state.scale_momentum},
                           {"grad_bits", state.grad_bits}};
    const std::optional<Method> method = parse_method(state.method);
    if (state.scale_strength && method && linear_method(*method).has_chosen_channels())
        object["scale_strength"] = shortest_decimal(*state.scale_strength);
    if (method && has_threshold(*method)) object["int8_threshold"] = shortest_decimal(state.int8_threshold);
    if (method && has_smoothing(*method)) object["smooth_alpha"] = shortest_decimal(state.smooth_alpha);
    if (state.outliers) object["outliers"] = outliers_to_json(*state.outliers);
    for (const auto& [module, scales] : state.scales) {
        ordered_json list = ordered_json::array();
        for (const float s : scales) list.push_back(shortest_decimal(s));
        object["scales"][module] = std::move(list);
    }
    if (state.chat) object["chat"] = to_json(*state.chat);
    make_directories(adapter_directory);
    write_file_atomically(adapter_directory / kQuaffJson, dump_pretty(object));
}

std::optional<QuaffState> read_quaff_state(const std::filesystem::path& adapter_directory, const ModelConfig& model) {
    const std::filesystem::path path = adapter_directory / kQuaffJson;
    if (!path_exists(path)) return std::nullopt;
    const json tree = read_json(path);
    const JsonObject object(tree, path.string());
    QuaffState state;
    state.method = object.string("method");
    state.rotation = object.boolean("rotation", false);
    if (object.has("outlier_term")) {
        const std::string term = object.string("outlier_term");
        const std::optional<OutlierTerm> known = value_in(kOutlierTermNames, term);
        require(known.has_value(), object.field("outlier_term"), " must be scaled or split, found \"", term, "\"");
        state.outlier_term = *known;
    }
    state.scale_strength = static_cast<float>(object.number("scale_strength", 0, 1, kPaperStrength));
    state.int8_threshold = static_cast<float>(object.number("int8_threshold", 0, std::numeric_limits<float>::max(), 6));
    state.smooth_alpha = static_cast<float>(object.number("smooth_alpha", 0, 1, 0.5));
    state.scale_momentum = object.number("scale_momentum", 0, 1, 0.1);
    state.grad_bits = object.integer("grad_bits", 8, 16, 8);
    require(state.grad_bits == 8 || state.grad_bits == 16, object.field("grad_bits"), " must be 8 or 16, found ",
            state.grad_bits);
    if (object.has("outliers")) state.outliers = outliers_from_json(object.object("outliers"), model);
    // Templates write tools out, so the order of their fields matters.
    if (object.has("chat"))
        state.chat =
            chat_settings_from_json(parse_ordered_json(read_file(path), path.string())["chat"], object.field("chat"));
    if (!object.has("scales")) return state;

    const JsonObject scales = object.object("scales");
    require(state.outliers.has_value(), object.field("scales"), " is there without \"outliers\"");
    for (const auto& [module, channels] : state.outliers->channels) {
        for (const double s : scales.numbers(module)) {
            require(s > 0 && s <= std::numeric_limits<float>::max(), scales.field(module),
                    " must hold positive finite numbers, found ", s);
            state.scales[module].push_back(static_cast<float>(s));
        }
        require(state.scales[module].size() == channels.size(), scales.field(module), " has ",
                state.scales[module].size(), " values for ", channels.size(), " outlier channels");
    }
    return state;
}

}  // namespace quaff
