// From float to int8, row by row, and the largest magnitudes of the outlier channels.
//
//   scale[n] = max_i |v[n,i]| / 127, a zero row gets 1
//   q[n,i]   = clamp(round_half_even(v[n,i] / scale[n]), -127, 127)
//
//   quantize_weight          v = W
//   quantize_rows            v = Xh, which is x with channel channels[j] divided by s[j]
//                            outliers[n,j] = Xh[n,channels[j]]
//   quantize_rows_rotated    v = Xh H (llmc/core/hadamard.h)
//   quantize_gradient_rows   v[n,o] = dy[n,o] col_scale[o]
//   outlier_absmax           xmax[j] = max_n |x[n,channels[j]]|
//
//   kernel 1   the definition: one thread
//   kernel 2   the definition by all threads, each with some of the rows; outlier_absmax with some of the channels,
//              whose values lie a row apart
//   kernel 3   llmc/cpu/quantize.h: vectors, too; outlier_absmax by rows, with maxima of each thread's own
//
// outlier_absmax reads scattered channels, for each of which memory delivers a cache line: those bytes are counted.
//
//   make -C dev/cpu && build/dev/cpu/quantize [version] [--shape ...]
#include "llmc/cpu/quantize.h"

#include <set>

#include "dev/cpu/common.h"

namespace {

using namespace llmc;
using benchmark::Device, benchmark::Tensor;

float scale_of(const float* v, int64_t count) {
    float largest = 0;
    for (int64_t i = 0; i < count; i++) largest = std::max(largest, std::abs(v[i]));
    return largest > 0 ? largest / 127 : 1;
}

int8_t rounded(float quotient) {
    return static_cast<int8_t>(std::clamp(std::nearbyint(quotient), -127.0f, 127.0f));
}

void quantize_row(int8_t* q, float& scale, const float* v, int64_t count) {
    scale = scale_of(v, count);
    for (int64_t i = 0; i < count; i++) q[i] = rounded(v[i] / scale);
}

// ---- quantize_weight -----------------------------------------------------------------------------------------------

void quantize_weight_kernel1(const Device&, Matrix<int8_t> q, float* scale, Matrix<const float> w, int64_t) {
    for (int64_t o = 0; o < w.rows; o++) quantize_row(q.row(o), scale[o], w.row(o), w.cols);
}

void quantize_weight_kernel2(const Device& device, Matrix<int8_t> q, float* scale, Matrix<const float> w, int64_t) {
#pragma omp parallel for num_threads(device.threads)
    for (int64_t o = 0; o < w.rows; o++) quantize_row(q.row(o), scale[o], w.row(o), w.cols);
}

struct Weight {
    static constexpr const char* name = "quantize_weight";
    using Kernel = decltype(&cpu::quantize_weight);
    static std::vector<benchmark::Version<Kernel>> versions() {
        return {{"the definition, one thread", quantize_weight_kernel1},
                {"the definition, threads", quantize_weight_kernel2},
                {"llmc/cpu/quantize.h: vectors, threads", cpu::quantize_weight}};
    }

    Tensor<float> w, scale;
    Tensor<int8_t> q;

    explicit Weight(const benchmark::Shape& shape)
        : w(benchmark::random<float>(shape[0], shape[1], 1)),
          scale(benchmark::unwritten<float>(1, shape[0])),
          q(benchmark::unwritten<int8_t>(shape[0], shape[1])) {
        if (shape[0] > 1) std::fill_n(w.row(1), w.cols, 0.0f);
    }

    void call(Kernel kernel, const Device& device) { kernel(device, q, scale.data, w, 0); }
    // The rule names every rounding: there is one right answer.
    std::vector<benchmark::Output> outputs() const {
        return {benchmark::output("q", q, 0), benchmark::output("scale", scale, 0)};
    }
    benchmark::Work work() const { return {benchmark::Unit::bytes, w.bytes() + q.bytes()}; }
};

// ---- quantize_rows -------------------------------------------------------------------------------------------------

// Level by level through memory, in the order that llmc/cpu/hadamard.cpp adds in.
void rotate(std::vector<float>& row, int64_t block) {
    for (int64_t apart = 1; apart < block; apart *= 2) {
        for (size_t i = 0; i < row.size(); i++) {
            if ((i & static_cast<size_t>(apart)) != 0) continue;
            const float left = row[i], right = row[i + static_cast<size_t>(apart)];
            row[i] = left + right;
            row[i + static_cast<size_t>(apart)] = left - right;
        }
    }
    if (block > 0)
        for (float& value : row) value *= hadamard_factor(block);
}

void quantize_rows_kernel1(const Device&, Matrix<int8_t> q, float* row_scale, Matrix<float> outliers,
                           Matrix<const float> x, const RowTransform& transform) {
    for (int64_t n = 0; n < x.rows; n++) {
        std::vector<float> scaled(x.row(n), x.row(n) + x.cols);
        for (size_t j = 0; j < transform.channels.size(); j++) {
            float& value = scaled[transform.channels[j]];
            outliers(n, static_cast<int64_t>(j)) = value = value / transform.s[j];
        }
        rotate(scaled, transform.rotation);
        quantize_row(q.row(n), row_scale[n], scaled.data(), x.cols);
    }
}

void quantize_rows_kernel2(const Device& device, Matrix<int8_t> q, float* row_scale, Matrix<float> outliers,
                           Matrix<const float> x, const RowTransform& transform) {
#pragma omp parallel for num_threads(device.threads)
    for (int64_t n = 0; n < x.rows; n++)
        quantize_rows_kernel1(device, q.rows_at(n, 1), row_scale + n, outliers.rows_at(n, 1), x.rows_at(n, 1),
                              transform);
}

struct Rows {
    static constexpr const char* name = "quantize_rows";
    using Kernel = decltype(&cpu::quantize_rows);
    static std::vector<benchmark::Version<Kernel>> versions() {
        return {{"the definition, one thread", quantize_rows_kernel1},
                {"the definition, threads", quantize_rows_kernel2},
                {"llmc/cpu/quantize.h: vectors, threads", cpu::quantize_rows}};
    }

    Tensor<float> x, s, row_scale, outliers;
    Tensor<int8_t> q;
    std::vector<int32_t> channels;

    explicit Rows(const benchmark::Shape& shape) : Rows(shape[0], shape[1], std::min(shape[1], shape[2])) {}
    Rows(int64_t tokens, int64_t width, int64_t n_outliers)
        : x(benchmark::random<float>(tokens, width, 1)),
          s(benchmark::random<float>(1, n_outliers, 2)),
          row_scale(benchmark::unwritten<float>(1, tokens)),
          outliers(benchmark::unwritten<float>(tokens, n_outliers)),
          q(benchmark::unwritten<int8_t>(tokens, width)),
          channels(benchmark::spread_indices(n_outliers, width)) {
        for (float& scale : s.span()) scale = 2 + scale;  // 1 and above, as training has it
        for (int64_t n = 0; n < tokens; n++)
            for (int32_t channel : channels) x(n, channel) *= 30;
    }

    void call(Kernel kernel, const Device& device) { call(kernel, device, 0); }
    void call(Kernel kernel, const Device& device, int64_t rotation) {
        kernel(device, q, row_scale.data, outliers, x, {channels, s.data, rotation});
    }
    std::vector<benchmark::Output> outputs() const {
        return {benchmark::output("q", q, 0), benchmark::output("row_scale", row_scale, 0),
                benchmark::output("outliers", outliers, 0)};
    }
    benchmark::Work work() const { return {benchmark::Unit::bytes, x.bytes() + q.bytes() + outliers.bytes()}; }
};

struct RotatedRows : Rows {
    static constexpr const char* name = "quantize_rows_rotated";
    using Rows::Rows;
    void call(Kernel kernel, const Device& device) { Rows::call(kernel, device, hadamard_block(x.cols)); }
};

// ---- quantize_gradient_rows ----------------------------------------------------------------------------------------

void quantize_gradient_rows_kernel1(const Device&, Matrix<int8_t> q, float* row_scale, Matrix<const float> dy,
                                    const float* col_scale) {
    std::vector<float> g(static_cast<size_t>(dy.cols));
    for (int64_t n = 0; n < dy.rows; n++) {
        for (int64_t o = 0; o < dy.cols; o++) g[o] = dy(n, o) * col_scale[o];
        quantize_row(q.row(n), row_scale[n], g.data(), dy.cols);
    }
}

void quantize_gradient_rows_kernel2(const Device& device, Matrix<int8_t> q, float* row_scale, Matrix<const float> dy,
                                    const float* col_scale) {
#pragma omp parallel for num_threads(device.threads)
    for (int64_t n = 0; n < dy.rows; n++)
        quantize_gradient_rows_kernel1(device, q.rows_at(n, 1), row_scale + n, dy.rows_at(n, 1), col_scale);
}

struct GradientRows {
    static constexpr const char* name = "quantize_gradient_rows";
    using Kernel = decltype(&cpu::quantize_gradient_rows);
    static std::vector<benchmark::Version<Kernel>> versions() {
        return {{"the definition, one thread", quantize_gradient_rows_kernel1},
                {"the definition, threads", quantize_gradient_rows_kernel2},
                {"llmc/cpu/quantize.h: vectors, threads", cpu::quantize_gradient_rows}};
    }

    Tensor<float> dy, col_scale, row_scale;
    Tensor<int8_t> q;

    explicit GradientRows(const benchmark::Shape& shape)
        : dy(benchmark::random<float>(shape[0], shape[1], 1)),
          col_scale(benchmark::random<float>(1, shape[1], 2)),
          row_scale(benchmark::unwritten<float>(1, shape[0])),
          q(benchmark::unwritten<int8_t>(shape[0], shape[1])) {
        for (float& scale : col_scale.span()) scale = std::abs(scale) * 1e-2f;
    }

    void call(Kernel kernel, const Device& device) { kernel(device, q, row_scale.data, dy, col_scale.data); }
    std::vector<benchmark::Output> outputs() const {
        return {benchmark::output("q", q, 0), benchmark::output("row_scale", row_scale, 0)};
    }
    benchmark::Work work() const { return {benchmark::Unit::bytes, dy.bytes() + q.bytes()}; }
};

// ---- outlier_absmax ------------------------------------------------------------------------------------------------

void outlier_absmax_kernel1(const Device&, float* xmax, Matrix<const float> x, std::span<const int32_t> channels) {
    std::fill_n(xmax, channels.size(), 0.0f);
    for (int64_t n = 0; n < x.rows; n++)
        for (size_t j = 0; j < channels.size(); j++) xmax[j] = std::max(xmax[j], std::abs(x(n, channels[j])));
}

void outlier_absmax_kernel2(const Device& device, float* xmax, Matrix<const float> x,
                            std::span<const int32_t> channels) {
    const auto count = static_cast<int64_t>(channels.size());
#pragma omp parallel for num_threads(device.threads) schedule(static)
    for (int64_t j = 0; j < count; j++) {
        float largest = 0;
        for (int64_t n = 0; n < x.rows; n++) largest = std::max(largest, std::abs(x(n, channels[j])));
        xmax[j] = largest;
    }
}

struct OutlierAbsmax {
    static constexpr const char* name = "outlier_absmax";
    using Kernel = decltype(&cpu::outlier_absmax);
    static std::vector<benchmark::Version<Kernel>> versions() {
        return {{"the definition row by row, one thread", outlier_absmax_kernel1},
                {"channel by channel, threads", outlier_absmax_kernel2},
                {"llmc/cpu/quantize.h: row by row, a maximum a thread", cpu::outlier_absmax}};
    }

    Rows rows;
    Tensor<float> xmax;

    explicit OutlierAbsmax(const benchmark::Shape& shape)
        : rows(shape), xmax(benchmark::unwritten<float>(1, static_cast<int64_t>(rows.channels.size()))) {}

    void call(Kernel kernel, const Device& device) { kernel(device, xmax.data, rows.x, rows.channels); }
    std::vector<benchmark::Output> outputs() const { return {benchmark::output("xmax", xmax, 0)}; }
    benchmark::Work work() const {
        constexpr int64_t kLine = 64;  // bytes
        std::set<int64_t> lines;
        for (int32_t channel : rows.channels) lines.insert(channel * static_cast<int64_t>(sizeof(float)) / kLine);
        return {benchmark::Unit::bytes, static_cast<double>(rows.x.rows * kLine) * static_cast<double>(lines.size())};
    }
};

}  // namespace

int main(int argc, char** argv) {
    return benchmark::run<Weight, Rows, RotatedRows, GradientRows, OutlierAbsmax>(
        argc, argv,
        {.operators = "quantize_weight, quantize_rows, quantize_rows_rotated, quantize_gradient_rows, outlier_absmax",
         .dimensions = "tokens x channels x outliers",
         .odd = {{1, 1, 1}, {2, 7, 0}, {5, 33, 4}, {17, 576, 12}, {3, 1001, 61}},
         .timed = {{2048, 3072, 61}}});
}
