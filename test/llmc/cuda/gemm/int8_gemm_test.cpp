#include "llmc/cuda/gemm/int8_gemm.cuh"

#include <algorithm>
#include <tuple>

#include "llmc/core/integers.h"
#include "llmc/cpu/gemm/gemm.h"
#include "llmc/cpu/gemm/int8_gemm.h"
#include "llmc/cpu/hadamard.h"
#include "test/llmc/cuda/blas.h"

using namespace cuda_test;
using llmc_test::random_buffer;
using llmc_test::random_int8;
using llmc_test::random_vector;

namespace {

// A GPU of compute capability 9.0, if it can be chosen.
class HopperIfEmulated {
  public:
#ifdef LLMC_EMULATED
    HopperIfEmulated() {
        emu::machine().major = 9;
    }
    ~HopperIfEmulated() {
        emu::machine() = {};
    }
#else
    HopperIfEmulated() = default;
#endif
    HopperIfEmulated(const HopperIfEmulated&) = delete;
    HopperIfEmulated& operator=(const HopperIfEmulated&) = delete;
};

// Why the GPU at hand cannot use Hopper's kernel; null if it can.
const char* without_hopper(int sm) {
    if (sm != 90) return "not a GPU of compute capability 9.0, which alone has the instructions of Hopper's int8 GEMM";
    if (!cuda::kHasHopperCode) return "the program has no code for GPUs of compute capability 9.0: GPU_ARCHS lacks 90";
    return nullptr;
}

// Whether the first elements are still poison: cuBLASLt's product puts its sums there, Hopper's nothing.
bool untouched(const DeviceVector<int32_t>& workspace, int64_t elements) {
    const std::vector<int32_t> held = workspace.download();
    return std::all_of(held.begin(), held.begin() + elements, [](int32_t element) { return element == -1; });
}

// An operand of the int8 GEMM as it is planned: with more and longer rows. Padding that may hold anything holds 99.
class PaddedInt8 {
  public:
    PaddedInt8(const Buffer<int8_t>& from, int64_t rows, bool zeros_behind)
        : rows_(rows), cols_(from.cols()), stride_(cuda::round_up(cols_, 16) + 16), memory_(rows_ * stride_) {
        std::vector<int8_t> values(memory_.size(), 99);
        for (int64_t i = 0; i < from.rows(); i++) {
            for (int64_t j = 0; j < stride_; j++) {
                if (j < cols_)
                    values[i * stride_ + j] = from(i, j);
                else if (zeros_behind && j < cuda::round_up(cols_, 16))
                    values[i * stride_ + j] = 0;
            }
        }
        memory_.upload(values);
    }
    Matrix<const int8_t> view() const { return memory_.matrix(rows_, cols_, stride_); }

  private:
    int64_t rows_, cols_, stride_;
    DeviceVector<int8_t> memory_;
};

template <class T>
PaddedInt8 tokens(const cuda::Device<T>& device, const Buffer<int8_t>& x) {
    return {x, cuda::padded_tokens(device, x.rows()), false};
}
template <class T>
PaddedInt8 weight(const cuda::Device<T>& device, const Buffer<int8_t>& w) {
    return {w, cuda::padded_features(device, w.rows()), true};
}

Buffer<double> widened(const Buffer<float>& from) {
    Buffer<double> to(from.rows(), from.cols());
    for (int64_t i = 0; i < to.rows(); i++) {
        for (int64_t j = 0; j < to.cols(); j++) to(i, j) = static_cast<double>(from(i, j));
    }
    return to;
}

// Sums of some 100 products of up to 127^2, scales near 1: y is near 1e5. The integer is exact; its conversion, two
// products and a sum round by 2^-24 each, here and on the CPU.
constexpr double kUnit = 1e5 * 5e-7;

// y, and the largest sum of the magnitudes that an element of it sums.
struct Sums {
    Buffer<double> y;
    double largest = 0;
};

// y[n,o] = row_scale[n] col_scale[o] sum_i xq[n,i] wq[o,i] + bias[o] + sum_k z[n,k] wz[o,k]
Sums sums_in_double(const Buffer<int8_t>& xq, const std::vector<float>& row_scale, const Buffer<int8_t>& wq,
                    const std::vector<float>& col_scale, const std::vector<float>& bias, const Buffer<double>& z,
                    const Buffer<double>& wz) {
    Sums sums{Buffer<double>(xq.rows(), wq.rows())};
    for (int64_t i = 0; i < xq.rows(); i++) {
        for (int64_t o = 0; o < wq.rows(); o++) {
            int32_t sum = 0;
            for (int64_t c = 0; c < xq.cols(); c++) sum += xq(i, c) * wq(o, c);
            const double scaled = double{row_scale[i]} * double{col_scale[o]} * sum, addend = double{bias[o]};
            double value = scaled + addend, magnitude = std::abs(scaled) + std::abs(addend);
            for (int64_t c = 0; c < z.cols(); c++) {
                value += z(i, c) * wz(o, c);
                magnitude += std::abs(z(i, c) * wz(o, c));
            }
            sums.y(i, o) = value;
            sums.largest = std::max(sums.largest, magnitude);
        }
    }
    return sums;
}

// The next three compare the products of a GPU with the CPU's, or with sums in double if z wz^T is among them, and
// check that they are made where int8_gemm_hopper_takes says.
template <class T>
void check_forward(const BlasDevice<T>& gpu, int n, int out, int in, bool has_bias) {
    const cpu::Device cpu{1};
    const auto xq = random_int8(n, in, 1), wq = random_int8(out, in, 2);
    const auto row_scale = random_vector<float>(n, 3, 0.1), col_scale = random_vector<float>(out, 4, 0.1);
    const std::vector<T> bias = narrow<T>(random_vector<float>(out, 5));
    std::vector<int32_t> cpu_workspace(cpu::int8_gemm_workspace(cpu));
    Buffer<float> expected(n, out);
    cpu::int8_gemm_nt(cpu, expected.view(), xq.view(), row_scale.data(), wq.view(), col_scale.data(),
                      has_bias ? widen(bias).data() : nullptr, {}, {}, cpu_workspace);

    const PaddedInt8 xq_gpu = tokens(gpu.device, xq), wq_gpu = weight(gpu.device, wq);
    const DeviceVector<float> row_scale_gpu(row_scale), col_scale_gpu(col_scale);
    const DeviceVector<T> bias_gpu(bias);
    std::vector<T> first;
    for_each_schedule([&] {
        DeviceVector<int32_t> workspace(cuda::int8_gemm_workspace(gpu.device));
        const DeviceMatrix<T> y(random_buffer<double>(n, out, 6));
        cuda::int8_gemm_nt(gpu.device, y.view(), xq_gpu.view(), row_scale_gpu.data(), wq_gpu.view(),
                           col_scale_gpu.data(), has_bias ? bias_gpu.data() : nullptr, {}, {}, workspace.span());
        CHECK(y.error(widened(expected), kUnit) <= 1);
        CHECK(untouched(workspace, cuda::int8_gemm_workspace(gpu.device)) ==
              cuda::int8_gemm_hopper_takes<T>(gpu.device, {}, {}));
        if (first.empty()) first = y.bits();
        CHECK(same_bits(first, y.bits()));
    });
}

// aligned: whether z and wz are; if not, it takes two passes. vectors: whether rows of y begin at multiples of 16
// bytes.
template <class T>
void check_joint(const BlasDevice<T>& gpu, int n, int out, int in, int k, bool aligned, bool vectors) {
    const auto to_eights = [](int64_t cols) { return cuda::round_up(cols, 8) - cols; };
    const auto xq = random_int8(n, in, 1), wq = random_int8(out, in, 2);
    const auto row_scale = random_vector<float>(n, 3, 0.01), col_scale = random_vector<float>(out, 4, 0.01);
    const std::vector<T> bias = narrow<T>(random_vector<float>(out, 5));
    const auto z = rounded<T>(random_buffer<double>(n, k, 6)), wz = rounded<T>(random_buffer<double>(out, k, 7, 0.1));

    const Sums sums = sums_in_double(xq, row_scale, wq, col_scale, widen(bias), z, wz);
    // A product, two of scales, a conversion and a sum for each term, which tensor cores cut off where others round:
    // 2^-23 of the magnitude each. error() allows for one rounding to T. Two passes round the dequantised sum and the
    // product, too, each of at most that magnitude.
    double unit = 0x1p-23 * (k + 4) * sums.largest;
    if (!aligned) unit += 2 * double{unit_roundoff<T>()} * sums.largest;

    const PaddedInt8 xq_gpu = tokens(gpu.device, xq), wq_gpu = weight(gpu.device, wq);
    const DeviceVector<float> row_scale_gpu(row_scale), col_scale_gpu(col_scale);
    const DeviceVector<T> bias_gpu(bias);
    const DeviceMatrix<T> z_gpu(z, aligned ? to_eights(k) : 3), wz_gpu(wz, aligned ? to_eights(k) + 8 : 3);
    std::vector<T> first;
    for_each_schedule([&] {
        DeviceVector<int32_t> workspace(cuda::int8_gemm_workspace(gpu.device));
        const DeviceMatrix<T> y(random_buffer<double>(n, out, 8), vectors ? to_eights(out) : to_eights(out) + 1);
        cuda::int8_gemm_nt(gpu.device, y.view(), xq_gpu.view(), row_scale_gpu.data(), wq_gpu.view(),
                           col_scale_gpu.data(), bias_gpu.data(), z_gpu.view(), wz_gpu.view(), workspace.span());
        CHECK(y.error(sums.y, unit) <= 1);
        CHECK(untouched(workspace, cuda::int8_gemm_workspace(gpu.device)) ==
              cuda::int8_gemm_hopper_takes<T>(gpu.device, z_gpu.view(), wz_gpu.view()));
        if (first.empty()) first = y.bits();
        CHECK(same_bits(first, y.bits()));
    });
}

template <class T>
void check_backward(const BlasDevice<T>& gpu, int n, int out, int in, int64_t rotation) {
    const cpu::Device cpu{1};
    const auto gq = random_int8(n, out, 1), wq = random_int8(out, in, 2);
    const auto row_scale = random_vector<float>(n, 3, 0.01);
    std::vector<int32_t> cpu_workspace(cpu::int8_gemm_workspace(cpu));
    Buffer<float> expected(n, in);
    cpu::int8_gemm_nn(cpu, expected.view(), gq.view(), row_scale.data(), wq.view(), rotation, cpu_workspace);

    const PaddedInt8 gq_gpu = tokens(gpu.device, gq), wq_gpu = weight(gpu.device, wq);
    const DeviceVector<float> row_scale_gpu(row_scale);
    for_each_schedule([&] {
        DeviceVector<int32_t> workspace(cuda::int8_gemm_nn_workspace(gpu.device, out, in));
        const DeviceMatrix<T> y(random_buffer<double>(n, in, 6));
        cuda::int8_gemm_nn(gpu.device, y.view(), gq_gpu.view(), row_scale_gpu.data(), wq_gpu.view(), rotation,
                           workspace.span());
        CHECK(y.error(widened(expected), kUnit) <= 1);
        CHECK(untouched(workspace, cuda::int8_gemm_workspace(gpu.device)) ==
              cuda::int8_gemm_hopper_takes<T>(gpu.device, {}, {}));
    });
}

}  // namespace

TEMPLATE_TEST_CASE("the forward int8 GEMM on the GPU is the CPU's", "[cuda][int8_gemm]", float, bf16, fp16) {
    using T = TestType;
    const auto [n, out, in] = GENERATE(
        table<int, int, int>({{1, 1, 1}, {33, 70, 50}, {5, 16, 32}, {31, 1, 600}, {270, 300, 65}, {300, 130, 16}}));
    const bool has_bias = GENERATE(false, true);
    BlasDevice<T> gpu;
    gpu.device.l2_bytes = GENERATE(0, 4 << 20);  // of 0: the smallest tiles
    CAPTURE(n, out, in, has_bias, gpu.device.l2_bytes);
    check_forward(gpu, n, out, in, has_bias);
}

TEMPLATE_TEST_CASE("the forward int8 GEMM on the GPU adds z wz^T before y is rounded", "[cuda][int8_gemm]", float, bf16,
                   fp16) {
    using T = TestType;
    // Sums of no and of one term; of fewer terms, more, and just as many as a slab or a step of the product takes.
    const auto [n, out, in, k] = GENERATE(table<int, int, int, int>({{40, 33, 20, 0},
                                                                     {5, 16, 32, 1},
                                                                     {1, 1, 1, 16},
                                                                     {31, 1, 60, 37},
                                                                     {33, 70, 50, 24},
                                                                     {270, 300, 65, 80},
                                                                     {300, 130, 16, 208}}));
    const bool aligned = GENERATE(true, false), vectors = GENERATE(true, false);
    BlasDevice<T> gpu;
    gpu.device.l2_bytes = GENERATE(0, 4 << 20);  // of 0: the smallest tiles
    CAPTURE(n, out, in, k, aligned, vectors, gpu.device.l2_bytes);
    check_joint(gpu, n, out, in, k, aligned, vectors);
}

TEMPLATE_TEST_CASE("the backward int8 GEMM on the GPU is the CPU's", "[cuda][int8_gemm]", float, bf16, fp16) {
    using T = TestType;
    const auto [n, out, in] =
        GENERATE(table<int, int, int>({{1, 1, 1}, {1, 70, 200}, {33, 20, 1}, {5, 32, 16}, {270, 65, 300}}));
    BlasDevice<T> gpu;
    gpu.device.l2_bytes = GENERATE(0, 4 << 20);
    CAPTURE(n, out, in, gpu.device.l2_bytes);
    check_backward(gpu, n, out, in, 0);
}

TEMPLATE_TEST_CASE("the backward int8 GEMM on the GPU undoes the weight's rotation as the CPU's", "[cuda][int8_gemm]",
                   float, bf16, fp16) {
    using T = TestType;
    // Blocks of 8, 16, 32 and 64; a tile of y is 128 columns or less, on Hopper 256.
    const auto [n, out, in] = GENERATE(
        table<int, int, int>({{3, 20, 8}, {33, 20, 272}, {5, 32, 96}, {1, 70, 64}, {270, 65, 320}, {140, 33, 704}}));
    BlasDevice<T> gpu;
    gpu.device.l2_bytes = GENERATE(0, 4 << 20);
    CAPTURE(n, out, in, gpu.device.l2_bytes);
    check_backward(gpu, n, out, in, cuda::hadamard_block(in));
}

TEMPLATE_TEST_CASE("the dequantised GEMM on the GPU is dy times the weight rounded to T", "[cuda][int8_gemm]", float,
                   bf16, fp16) {
    using T = TestType;
    const auto [n, out, in] =
        GENERATE(table<int, int, int>({{1, 1, 1}, {0, 5, 3}, {6, 70, 41}, {3, 20, 1100}, {3, 7, 1088}}));
    const int64_t rotation = in == 1088 ? 64 : 0;
    CAPTURE(n, out, in);
    const BlasDevice<T> gpu;
    const auto dy = rounded<T>(random_buffer<double>(n, out, 1));
    const auto wq = random_int8(out, in, 2);
    const auto col_scale = random_vector<float>(out, 3, 0.01);
    Buffer<double> w(out, in), expected(n, in);
    for (int64_t o = 0; o < out; o++) {
        std::vector<float> row(static_cast<size_t>(in));
        for (int64_t i = 0; i < in; i++) row[i] = col_scale[o] * static_cast<float>(wq(o, i));
        cpu::hadamard_row(row.data(), in, rotation);
        std::ranges::copy(row, w.view().row(o));
    }
    cpu::gemm_nn(cpu::Device{1}, expected.view(), dy.view(), rounded<T>(w).view(), 1, 0);

    const PaddedInt8 wq_gpu = weight(gpu.device, wq);
    const DeviceVector<float> col_scale_gpu(col_scale);
    const DeviceMatrix<T> dy_gpu(dy);
    for_each_schedule([&] {
        DeviceVector<T> workspace(cuda::dequantized_gemm_workspace(gpu.device, out, in));
        const DeviceMatrix<T> y(random_buffer<double>(n, in, 6));
        cuda::dequantized_gemm_nn<T>(gpu.device, y.view(), dy_gpu.view(), wq_gpu.view(), col_scale_gpu.data(), rotation,
                                     workspace.span());
        CHECK(y.error(expected, 1e-4) <= 1);  // fp32 sums of up to 70 terms near 1
    });
}

TEST_CASE("int8 GEMMs on the GPU refuse operands without their padding", "[cuda][int8_gemm]") {
    const BlasDevice<float> gpu;
    const DeviceVector<int8_t> memory(64 * 64);
    const DeviceVector<float> scale(std::vector<float>(64, 1.0f));
    const DeviceVector<int32_t> workspace(cuda::int8_gemm_nn_workspace(gpu.device, 64, 64));
    const DeviceMatrix<float> y(Buffer<double>(20, 20));
    const Matrix<const int8_t> good = memory.matrix(32, 20, 32), short_rows = memory.matrix(32, 20, 20),
                               odd_stride = memory.matrix(32, 20, 36), few_rows = memory.matrix(20, 20, 32),
                               displaced = memory.matrix(32, 20, 32, 4);
    const auto nt = [&](Matrix<const int8_t> xq, Matrix<const int8_t> wq, std::span<int32_t> scratch) {
        cuda::int8_gemm_nt(gpu.device, y.view(), xq, scale.data(), wq, scale.data(), nullptr, {}, {}, scratch);
    };
    const auto nn = [&](Matrix<const int8_t> gq, Matrix<const int8_t> wq, std::span<int32_t> scratch) {
        cuda::int8_gemm_nn(gpu.device, y.view(), gq, scale.data(), wq, 0, scratch);
    };
    CHECK_NOTHROW(nt(good, good, workspace.span()));
    CHECK_NOTHROW(nn(good, good, workspace.span()));
    for (const Matrix<const int8_t> bad : {short_rows, odd_stride, few_rows, displaced}) {
        CHECK_THROWS_WITH(nt(bad, good, workspace.span()),
                          Catch::Matchers::ContainsSubstring("needs xq padded to 32 rows of 32"));
        CHECK_THROWS_WITH(nt(good, bad, workspace.span()),
                          Catch::Matchers::ContainsSubstring("needs wq padded to 32 rows of 32"));
        CHECK_THROWS_WITH(nn(bad, good, workspace.span()),
                          Catch::Matchers::ContainsSubstring("needs gq padded to 32 rows of 32"));
    }
    CHECK_THROWS_WITH(nn(good, short_rows, workspace.span()), Catch::Matchers::ContainsSubstring("needs wq padded"));
    CHECK_THROWS_WITH(nt(good, good, {}), Catch::Matchers::ContainsSubstring("workspace"));
    CHECK_THROWS_WITH(nn(good, good, {}), Catch::Matchers::ContainsSubstring("workspace"));
    CHECK_THROWS_WITH(cuda::dequantized_gemm_nn<float>(gpu.device, y.view(), y.view(), good, scale.data(), 0, {}),
                      Catch::Matchers::ContainsSubstring("workspace"));
}

TEST_CASE("the int8 GEMM's tiles on the GPU fit the workspace and are no wider than high", "[cuda][int8_gemm]") {
    const int64_t elements = GENERATE(16384, 524288, 6553600);
    const auto [rows, cols] = GENERATE(table<int64_t, int64_t>(
        {{1, 1}, {1, 28672}, {32, 28672}, {2048, 9216}, {100000, 960}, {513, 513}, {8192, 16}}));
    CAPTURE(elements, rows, cols);
    const cuda::Int8Tiling tiling(elements, rows, cols);
    CHECK(tiling.rows > 0);
    CHECK(tiling.cols > 0);
    CHECK(tiling.rows * tiling.cols <= elements);
    CHECK(tiling.rows % 32 == 0);
    CHECK(tiling.cols % 16 == 0);
    CHECK(tiling.rows <= cuda::round_up(rows, 32));
    CHECK(tiling.cols <= cuda::round_up(cols, 16));
    const int64_t down = cuda::ceil_div(rows, tiling.rows);
    CHECK((down == 1 || 2 * tiling.rows >= tiling.cols));  // rows are shared out evenly: up to half of a tile's height
}

// More tiles than blocks, so that one block makes several; sums of one slab and of many, with and without a second sum.
TEMPLATE_TEST_CASE("Hopper's int8 GEMM is exact, and rounds what it adds to it once", "[cuda][int8_gemm]", float, bf16,
                   fp16) {
    using T = TestType;
    const auto [n, out, in, k] =
        GENERATE(table<int, int, int, int>({{1, 1, 1, 0}, {300, 530, 20, 8}, {131, 260, 700, 0}, {131, 70, 300, 208}}));
    const bool vectors = GENERATE(true, false);  // whether rows of y begin at multiples of 16 bytes
    [[maybe_unused]] const HopperIfEmulated hopper;
    BlasDevice<T> gpu;
    if (const char* why = without_hopper(gpu.device.sm)) {
        SUCCEED(why);
        return;
    }
    gpu.device.multiprocessors = 2;
    const int64_t terms = sizeof(T) == 2 ? k : 0;
    CAPTURE(n, out, in, terms, vectors);
    const auto to_eights = [](int64_t cols) { return cuda::round_up(cols, 8) - cols; };
    const auto xq = random_int8(n, in, 1), wq = random_int8(out, in, 2);
    // Powers of two: an element without a second sum is the integer, rounded once.
    std::vector<float> row_scale(n), col_scale(out);
    for (int64_t i = 0; i < n; i++) row_scale[i] = std::ldexp(1.0f, static_cast<int>(i % 5) - 12);
    for (int64_t o = 0; o < out; o++) col_scale[o] = std::ldexp(1.0f, static_cast<int>(o % 3) - 4);
    const auto z = rounded<T>(random_buffer<double>(n, terms, 6)),
               wz = rounded<T>(random_buffer<double>(out, terms, 7));
    const Sums sums = sums_in_double(xq, row_scale, wq, col_scale, std::vector<float>(out), z, wz);
    const double unit = terms > 0 ? 0x1p-23 * static_cast<double>(terms + 1) * sums.largest : 1e-9;

    const PaddedInt8 xq_gpu = tokens(gpu.device, xq), wq_gpu = weight(gpu.device, wq);
    const DeviceVector<float> row_scale_gpu(row_scale), col_scale_gpu(col_scale);
    const DeviceMatrix<T> z_gpu(z, 8), wz_gpu(wz, 16);
    REQUIRE(cuda::int8_gemm_hopper_takes<T>(gpu.device, z_gpu.view(), wz_gpu.view()));
    std::vector<T> first;
    for_each_schedule([&] {
        const DeviceMatrix<T> y(random_buffer<double>(n, out, 8), vectors ? to_eights(out) : to_eights(out) + 1);
        cuda::int8_gemm_hopper<T>(gpu.device, y.view(), xq_gpu.view(), row_scale_gpu.data(), wq_gpu.view(),
                                  col_scale_gpu.data(), nullptr, cuda::padded_features(gpu.device, in), z_gpu.view(),
                                  wz_gpu.view());
        CHECK(y.error(sums.y, unit) <= 1);
        if (first.empty()) first = y.bits();
        CHECK(same_bits(first, y.bits()));
    });
}

// Two tiles and a part of a slab; z wz^T is computed differently if it is fp32 or not aligned.
TEMPLATE_TEST_CASE("int8 GEMMs on Hopper are the CPU's, by its own kernel wherever that can", "[cuda][int8_gemm]",
                   float, bf16, fp16) {
    using T = TestType;
    [[maybe_unused]] const HopperIfEmulated hopper;
    BlasDevice<T> gpu;
    if (const char* why = without_hopper(gpu.device.sm)) {
        SUCCEED(why);
        return;
    }
    gpu.device.l2_bytes = 0;  // the smallest workspace
    const DeviceMatrix<T> aligned(Buffer<double>(16, 16), 8), displaced(Buffer<double>(16, 16), 8, 1);
    CHECK(cuda::int8_gemm_hopper_takes<T>(gpu.device, {}, {}));
    CHECK(cuda::int8_gemm_hopper_takes<T>(gpu.device, aligned.view(), aligned.view()) == (sizeof(T) == 2));
    CHECK_FALSE(cuda::int8_gemm_hopper_takes<T>(gpu.device, displaced.view(), aligned.view()));
    CHECK_FALSE(cuda::int8_gemm_hopper_takes<T>(gpu.device, aligned.view(), displaced.view()));
    SECTION("forward, with a bias and without") {
        check_forward(gpu, 20, 270, 50, true);
        check_forward(gpu, 130, 20, 33, false);
    }
    SECTION("backward, without a column's scale") {
        check_backward(gpu, 20, 50, 270, 0);
        for (const int in : {40, 272, 96, 320}) check_backward(gpu, 20, 50, in, cuda::hadamard_block(in));
    }
    SECTION("forward, with z wz^T and a bias") {
        check_joint(gpu, 20, 70, 50, 24, true, true);
        check_joint(gpu, 20, 70, 50, 24, false, false);
    }
}
