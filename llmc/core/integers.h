// Division of non-negative sizes, rounded up, and rounding up to multiples. constexpr, so that kernels can call them.
#pragma once

#include <type_traits>

namespace llmc {

// The least integer that is at least a / b.
template <class Integer>
constexpr Integer ceil_div(Integer a, std::type_identity_t<Integer> b) {
    return (a + b - 1) / b;
}

// The least multiple of `multiple` that is at least `value`.
template <class Integer>
constexpr Integer round_up(Integer value, std::type_identity_t<Integer> multiple) {
    return ceil_div(value, multiple) * multiple;
}

}  // namespace llmc
