// How the frozen linears of a model are computed. quaff.json and --method know the methods by these names:
//
//   quaff   int8 weights and activations, with outlier channels (quantized_linear.h)
//   fp      the weights as the model's file has them
#pragma once

#include <optional>
#include <string_view>

namespace quaff {

enum class Method { quaff, fp };

struct MethodName {
    Method method;
    const char* name;
};
inline constexpr MethodName kMethodNames[] = {{Method::quaff, "quaff"}, {Method::fp, "fp"}};

constexpr const char* name_of(Method method) {
    for (const MethodName& known : kMethodNames)
        if (known.method == method) return known.name;
    return "?";
}

// Nothing where the name is no method's.
constexpr std::optional<Method> parse_method(std::string_view name) {
    for (const MethodName& known : kMethodNames)
        if (known.name == name) return known.method;
    return std::nullopt;
}

}  // namespace quaff
