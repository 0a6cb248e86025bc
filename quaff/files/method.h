// How the frozen linears of a model are computed. quaff.json and --method know the methods by these names:
//
//   quaff   int8 weights and activations, with outlier channels (quantized_linear.h)
//   fp      the weights as the model's file has them
#pragma once

#include <optional>
#include <string_view>

#include "llmc/core/named.h"

namespace quaff {

enum class Method { quaff, fp };

inline constexpr llmc::Named<Method> kMethodNames[] = {{"quaff", Method::quaff}, {"fp", Method::fp}};

constexpr const char* name_of(Method method) {
    return llmc::name_in(kMethodNames, method);
}
// Nothing where the name is no method's.
constexpr std::optional<Method> parse_method(std::string_view name) {
    return llmc::value_in(kMethodNames, name);
}

}  // namespace quaff
