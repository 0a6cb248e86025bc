// The activation of a gated MLP's gate: swiglu.h multiplies it with up.
//
//   gate(g)  = g sigmoid(a(g))
//   gate'(g) = sigmoid(a) (1 + g a'(g) (1 - sigmoid(a)))
//
//   silu        a = g                              g a' = g
//   gelu_tanh   a = c (g + 0.044715 g^3)           g a' = c (g + 3 0.044715 g^3)           c = 2 sqrt(2 / pi)
//
// gelu_tanh is torch's gelu(approximate="tanh"), 0.5 g (1 + tanh(a / 2)), because 1 + tanh(a / 2) = 2 sigmoid(a). The
// sum with tanh loses the digits of a negative g's small result; the sigmoid keeps them. In fp32 nothing is NaN up to
// |g| = 1e12, beyond which g a' overflows. Hendrycks and Gimpel 2016, arXiv 1606.08415.
#pragma once

#include "llmc/core/philox.h"

namespace llmc {

// silu: SwiGLU, of LLaMA and its kin. gelu_tanh: GeGLU, of Gemma.
enum class Gate { silu, gelu_tanh };

inline constexpr double kGeluSlope = 1.5957691216057307;  // c: a' at 0
inline constexpr double kGeluCubic = kGeluSlope * 0.044715;

// a(g)
template <Gate kGate, class T>
LLMC_HOST_DEVICE inline T gate_argument(T g) {
    if constexpr (kGate == Gate::silu)
        return g;
    else
        return g * (static_cast<T>(kGeluSlope) + static_cast<T>(kGeluCubic) * (g * g));
}

// g a'(g)
template <Gate kGate, class T>
LLMC_HOST_DEVICE inline T gate_argument_growth(T g) {
    if constexpr (kGate == Gate::silu)
        return g;
    else
        return g * (static_cast<T>(kGeluSlope) + static_cast<T>(3 * kGeluCubic) * (g * g));
}

// A gate that is known when the program is compiled.
template <Gate kGate>
struct FixedGate {
    static constexpr Gate value = kGate;
};

// Calls body(FixedGate) with the gate that is known when the program runs.
template <class Body>
void with_gate(Gate gate, const Body& body) {
    if (gate == Gate::silu)
        body(FixedGate<Gate::silu>{});
    else
        body(FixedGate<Gate::gelu_tanh>{});
}

}  // namespace llmc
