// How the frozen linears of a model are computed. quaff.json and --method know the methods by these names:
//
//   quaff         int8 weights and inputs with outlier channels; rotated or not, as the run chooses
//   quaff-paper   the same as it was published: outlier channels by momentum scaling, no rotation
//   naive         int8 weights and inputs and nothing else
//   fp            the weights as the model's file has them
//
// What a method does to a linear is what linear_method() says of it: the model asks for these properties, never for the
// method's name. Only where a run begins does the name count (run/starting_point.h, run/paper_settings.h).
#pragma once

#include <optional>
#include <string_view>

#include "llmc/core/named.h"

namespace quaff {

enum class Method { quaff, quaff_paper, naive, fp };

// What becomes of the outlier channels in the int8 product: divided by s, or taken out of it altogether
// (quantized_linear.h).
enum class OutlierTerm { scaled, split };

inline constexpr llmc::Named<Method> kMethodNames[] = {
    {"quaff", Method::quaff}, {"quaff-paper", Method::quaff_paper}, {"naive", Method::naive}, {"fp", Method::fp}};
inline constexpr llmc::Named<OutlierTerm> kOutlierTermNames[] = {{"scaled", OutlierTerm::scaled},
                                                                 {"split", OutlierTerm::split}};

constexpr const char* name_of(Method method) {
    return llmc::name_in(kMethodNames, method);
}
// Nothing where the name is no method's.
constexpr std::optional<Method> parse_method(std::string_view name) {
    return llmc::value_in(kMethodNames, name);
}

// What a method does to a frozen linear.
struct LinearMethod {
    bool int8 = true;      // weights and inputs are quantised; otherwise none of the following counts
    bool outliers = true;  // there are outlier channels, found by calibration or read from a file
    OutlierTerm outlier_term = OutlierTerm::scaled;
    bool rotation = true;  // rows are rotated before they are quantised (llmc/core/hadamard.h)

    // Whether the scales s exist, which every training pass moves.
    constexpr bool has_scales() const { return outliers && outlier_term == OutlierTerm::scaled; }
};

// rotation and outlier_term: what a run has chosen, which only Method::quaff heeds.
constexpr LinearMethod linear_method(Method method, bool rotation = true,
                                     OutlierTerm outlier_term = OutlierTerm::scaled) {
    switch (method) {
        case Method::quaff:
            return {.outlier_term = outlier_term, .rotation = rotation};
        case Method::quaff_paper:
            return {.rotation = false};
        case Method::naive:
            return {.outliers = false, .rotation = false};
        case Method::fp:
            break;
    }
    return {.int8 = false, .outliers = false, .rotation = false};
}

}  // namespace quaff
