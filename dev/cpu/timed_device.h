// timed::Device: the processor, with a stopwatch on every operator.
//
// The model is a template of its device and finds operators by it. With this device it finds the functions here, which
// note how long each operator of llmc/cpu takes, under a heading: the model is timed as it is.
#pragma once

#include <chrono>
#include <ctime>
#include <map>
#include <string>
#include <utility>

#include "llmc/cpu/operators.h"
#include "quaff/model/lora.h"
#include "quaff/model/scales.h"

namespace timed {

using namespace llmc;

struct Time {
    double wall = 0, cpu = 0;  // seconds; cpu: of all threads together, which other programs do not lengthen
    void operator+=(const Time& other) { wall += other.wall, cpu += other.cpu; }
    Time operator-(const Time& other) const { return {wall - other.wall, cpu - other.cpu}; }
};

inline Time now() {
    timespec process{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &process);
    return {std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(),
            static_cast<double>(process.tv_sec) + 1e-9 * static_cast<double>(process.tv_nsec)};
}

// Seconds under each heading.
using Profile = std::map<std::string, Time>;

struct Device : cpu::Device {
    Profile* profile = nullptr;
    int64_t vocab_size = 0;  // tells the head's products from the others
};

// Adds what passes while it lives.
class Stopwatch {
  public:
    Stopwatch(const Device& device, const char* heading) : sum_((*device.profile)[heading]), begin_(now()) {}
    ~Stopwatch() { sum_ += now() - begin_; }
    Stopwatch(const Stopwatch&) = delete;
    Stopwatch& operator=(const Stopwatch&) = delete;

  private:
    Time& sum_;
    Time begin_;
};

inline const cpu::Device& untimed(const Device& device) {
    return device;
}

// A function of llmc/cpu, or a template of which the caller may name the element type.
#define TIMED(heading, name)                                                      \
    template <class... Arguments>                                                 \
    auto name(const Device& device, Arguments&&... arguments) {                   \
        const Stopwatch stopwatch(device, heading);                               \
        return cpu::name(untimed(device), std::forward<Arguments>(arguments)...); \
    }
#define TIMED_TEMPLATE(heading, name)                                                       \
    template <class... Types, class... Arguments>                                           \
    auto name(const Device& device, Arguments&&... arguments) {                             \
        const Stopwatch stopwatch(device, heading);                                         \
        return cpu::name<Types...>(untimed(device), std::forward<Arguments>(arguments)...); \
    }

TIMED("int8 GEMM (bf16: and joint)", int8_gemm_nn)
TIMED("int8 GEMM (bf16: and joint)", dequantized_gemm_nn)
TIMED("rows moved", half_embedding_forward)
TIMED("quantise", quantize_rows)
TIMED("quantise", quantize_gradient_rows)
TIMED("quantise", outlier_absmax)
TIMED("quantise", update_scales)
TIMED("quantise", scales_from_maxima)
TIMED("quantise", smoothing_scales)
TIMED("quantise", dequantize_columns)
TIMED("norm (and its quantise)", rmsnorm_forward_absmax)
TIMED("norm (and its quantise)", rmsnorm_forward_quantize)
TIMED("SwiGLU (and its quantise)", swiglu_forward_absmax)
TIMED("SwiGLU (and its quantise)", swiglu_forward_quantize)
TIMED("joint weight", joint_weight)
TIMED_TEMPLATE("attention", attention_forward)
TIMED_TEMPLATE("attention", attention_backward)
TIMED_TEMPLATE("norm (and its quantise)", rmsnorm_forward)
TIMED_TEMPLATE("norm (and its quantise)", rmsnorm_apply)
TIMED_TEMPLATE("norm (and its quantise)", rmsnorm_backward)
TIMED_TEMPLATE("norm (and its quantise)", head_norm_forward)
TIMED_TEMPLATE("norm (and its quantise)", head_norm_backward)
TIMED_TEMPLATE("SwiGLU (and its quantise)", swiglu_forward)
TIMED_TEMPLATE("SwiGLU (and its quantise)", swiglu_backward)
TIMED_TEMPLATE("rope", rope_forward)
TIMED_TEMPLATE("rope", rope_backward)
TIMED_TEMPLATE("dropout", dropout_forward)
TIMED_TEMPLATE("dropout", dropout_backward)
TIMED_TEMPLATE("cross-entropy", cross_entropy_forward)
TIMED_TEMPLATE("cross-entropy", cross_entropy_forward_backward)
TIMED_TEMPLATE("cross-entropy", soft_cap)
TIMED_TEMPLATE("rows moved", gather_rows)
TIMED_TEMPLATE("rows moved", scatter_rows)
TIMED_TEMPLATE("rows moved", embedding_forward)
TIMED_TEMPLATE("rows moved", copy)
TIMED_TEMPLATE("rows moved", scale)
TIMED_TEMPLATE("rows moved", set_zero)
TIMED_TEMPLATE("rows moved", fill_rows)
TIMED_TEMPLATE("rows moved", divide_columns)
TIMED_TEMPLATE("GEMM, frozen linears", nf4_gemm_nt)
TIMED_TEMPLATE("GEMM, frozen linears", nf4_gemm_nn)
TIMED_TEMPLATE("optimiser", global_norm)
TIMED_TEMPLATE("optimiser", adamw_step)

#undef TIMED
#undef TIMED_TEMPLATE

// By the two dimensions that are not tokens: one of the head's is the vocabulary, one of adapters and outlier columns
// is short; what remains are the frozen linears at full precision.
inline const char* heading_of(const Device& device, int64_t a, int64_t b) {
    constexpr int64_t kShort = 512;
    if (a == device.vocab_size || b == device.vocab_size) return "GEMM, head";
    return a < kShort || b < kShort ? "GEMM, adapters and outliers" : "GEMM, frozen linears";
}

template <class T, class Y, class A, class B>
void gemm_nt(const Device& device, const Y& y, const A& x, const B& w, T alpha, T beta) {
    const Stopwatch stopwatch(device, heading_of(device, y.cols, x.cols));
    cpu::gemm_nt<T>(untimed(device), y, x, w, alpha, beta);
}
template <class T, class Y, class A, class B>
void gemm_nn(const Device& device, const Y& y, const A& x, const B& w, T alpha, T beta) {
    const Stopwatch stopwatch(device, heading_of(device, y.cols, x.cols));
    cpu::gemm_nn<T>(untimed(device), y, x, w, alpha, beta);
}
template <class T, class Y, class A, class B>
void gemm_tn(const Device& device, const Y& y, const A& a, const B& b, T alpha, T beta) {
    const Stopwatch stopwatch(device, heading_of(device, y.rows, y.cols));
    cpu::gemm_tn<T>(untimed(device), y, a, b, alpha, beta);
}

// Of 16-bit weights, which adapters never are.
inline const char* heading_of(const Device& device, const cpu::HalfMatrix& w) {
    return w.bits.rows == device.vocab_size ? "GEMM, head" : "GEMM, frozen linears";
}
inline void half_gemm_nt(const Device& device, Matrix<float> y, Matrix<const float> x, const cpu::HalfMatrix& w,
                         float beta, std::span<float> workspace) {
    const Stopwatch stopwatch(device, heading_of(device, w));
    cpu::half_gemm_nt(untimed(device), y, x, w, beta, workspace);
}
inline void half_gemm_nn(const Device& device, Matrix<float> y, Matrix<const float> x, const cpu::HalfMatrix& w,
                         std::span<float> workspace) {
    const Stopwatch stopwatch(device, heading_of(device, w));
    cpu::half_gemm_nn(untimed(device), y, x, w, workspace);
}

// In fp32 it is two products, each under its heading; in bf16 one.
inline void int8_gemm_nt(const Device& device, Matrix<float> y, Matrix<const int8_t> xq, const float* row_scale,
                         Matrix<const int8_t> wq, const float* col_scale, const float* bias, Matrix<const float> z,
                         Matrix<const float> wz, std::span<int32_t> workspace) {
    const bool separate = device.products == cpu::Products::fp32 && z.cols > 0;
    {
        const Stopwatch stopwatch(device, "int8 GEMM (bf16: and joint)");
        const Matrix<const float> none;
        cpu::int8_gemm_nt(untimed(device), y, xq, row_scale, wq, col_scale, bias, separate ? none : z,
                          separate ? none : wz, workspace);
    }
    if (separate) gemm_nt<float>(device, y, z, wz, 1.0f, 1.0f);
}

// Of other operators, each under its own heading.
template <class T, class... Arguments>
void lora_down(const Device& device, Arguments&&... arguments) {
    lora_down_of_operators<T>(device, std::forward<Arguments>(arguments)...);
}
template <class T, class... Arguments>
void lora_down_dx(const Device& device, Arguments&&... arguments) {
    lora_down_dx_of_operators<T>(device, std::forward<Arguments>(arguments)...);
}
template <class T, class... Arguments>
void lora_down_da(const Device& device, Arguments&&... arguments) {
    lora_down_da_of_operators<T>(device, std::forward<Arguments>(arguments)...);
}

}  // namespace timed
