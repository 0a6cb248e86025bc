// What the gate of a gated MLP does before it multiplies: out = gate(g) up.
#pragma once

namespace llmc {

enum class Gate {
    silu,      // g sigmoid(g): SwiGLU
    gelu_tanh  // g sigmoid(2 sqrt(2/pi) (g + 0.044715 g^3)), GELU with tanh: GeGLU
};

}  // namespace llmc
