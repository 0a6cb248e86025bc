// How the frozen linears of a model are computed. quaff.json and --method know the methods by these names:
//
//   quaff           int8 weights and inputs with outlier channels; rotated or not, as the run chooses
//   quaff-paper     the same as it was published: outlier channels by momentum scaling, no rotation
//   naive           int8 weights and inputs and nothing else
//   llm-int8        int8; what is large in a batch is multiplied in the compute type
//   smooth-static   int8; all channels scaled by what calibration saw
//   smooth-dynamic  int8; all channels scaled by what each batch holds
//   qlora           weights in four bits, dequantised for each product
//   fp              the weights as the model's file has them
//
// What a method does to a linear is what linear_method() says of it: the model asks for these properties, never for the
// method's name. Only where a run begins does the name count (run/starting_point.h, run/method_settings.h).
#pragma once

#include <optional>
#include <string_view>

#include "llmc/core/named.h"

namespace quaff {

enum class Method { quaff, quaff_paper, naive, llm_int8, smooth_static, smooth_dynamic, qlora, fp };

// What becomes of the outlier channels in the int8 product: divided by s, or taken out of it altogether
// (model/methods/outlier_channels.h).
enum class OutlierTerm { scaled, split };

inline constexpr llmc::Named<Method> kMethodNames[] = {{"quaff", Method::quaff},
                                                       {"quaff-paper", Method::quaff_paper},
                                                       {"naive", Method::naive},
                                                       {"llm-int8", Method::llm_int8},
                                                       {"smooth-static", Method::smooth_static},
                                                       {"smooth-dynamic", Method::smooth_dynamic},
                                                       {"qlora", Method::qlora},
                                                       {"fp", Method::fp}};
inline constexpr llmc::Named<OutlierTerm> kOutlierTermNames[] = {{"scaled", OutlierTerm::scaled},
                                                                 {"split", OutlierTerm::split}};

constexpr const char* name_of(Method method) {
    return llmc::name_in(kMethodNames, method);
}
// Nothing where the name is no method's.
constexpr std::optional<Method> parse_method(std::string_view name) {
    return llmc::value_in(kMethodNames, name);
}

// How a method keeps a frozen weight: the classes of model/methods/.
enum class WeightKind { outlier_channels, llm_int8, smooth_static, smooth_dynamic, four_bits, full_precision };

// Rotated rows want what is left of an outlier channel as small as the others; the paper's scale halves it on the way.
inline constexpr float kRotatedStrength = 1, kPaperStrength = 0.5;

// What a run may choose of a method.
struct MethodChoices {
    bool rotation = true;                            // of quaff
    OutlierTerm outlier_term = OutlierTerm::scaled;  // of quaff
    // Of quaff: the exponent of beta (model/scales.h). Nothing: kRotatedStrength, or the paper's without the rotation.
    std::optional<float> scale_strength;
    float int8_threshold = 6;  // of llm-int8: |X| above it is large
    float smooth_alpha = 0.5;  // of smooth-static and smooth-dynamic: how much moves to W

    bool operator==(const MethodChoices&) const = default;
};

// What a method does to a frozen linear.
struct LinearMethod : MethodChoices {
    WeightKind weight = WeightKind::outlier_channels;
    bool int8 = true;      // int8 x int8 products
    bool outliers = true;  // there are outlier channels, found by calibration or read from a file

    // Whether some channels are outliers, and others are not.
    constexpr bool has_chosen_channels() const { return weight == WeightKind::outlier_channels && outliers; }
    // Whether the scales s exist, which every training pass moves.
    constexpr bool has_scales() const { return has_chosen_channels() && outlier_term == OutlierTerm::scaled; }
};

// The choices that are not the method's are ignored.
constexpr LinearMethod linear_method(Method method, MethodChoices choices = {}) {
    if (method != Method::quaff) choices.rotation = false;
    if (method != Method::quaff) choices.outlier_term = OutlierTerm::scaled;
    if (method != Method::quaff) choices.scale_strength = kPaperStrength;
    if (!choices.scale_strength) choices.scale_strength = choices.rotation ? kRotatedStrength : kPaperStrength;
    switch (method) {
        case Method::quaff:
        case Method::quaff_paper:
            return {choices};
        case Method::naive:
            return {choices, WeightKind::outlier_channels, true, false};
        case Method::llm_int8:
            return {choices, WeightKind::llm_int8, true, false};
        case Method::smooth_static:
            return {choices, WeightKind::smooth_static};
        case Method::smooth_dynamic:
            return {choices, WeightKind::smooth_dynamic, true, false};
        case Method::qlora:
            return {choices, WeightKind::four_bits, false, false};
        case Method::fp:
            break;
    }
    return {choices, WeightKind::full_precision, false, false};
}

// Which methods heed which of the choices. The others are quaff's alone.
constexpr bool has_threshold(Method method) {
    return method == Method::llm_int8;
}
constexpr bool has_smoothing(Method method) {
    return method == Method::smooth_static || method == Method::smooth_dynamic;
}

}  // namespace quaff
