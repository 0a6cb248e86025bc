#include "llmc/cuda/attention/attention.cuh"

#include <algorithm>
#include <random>
#include <set>

#include "llmc/cpu/attention/attention.h"
#include "test/llmc/cuda/support.h"

using namespace cuda_test;
using llmc::AttentionShape;

namespace {

const cpu::Device kCpu{2};

struct Problem {
    AttentionShape shape;
    std::vector<int32_t> cu_seqlens;
    float deviation = 1;
    int64_t padding = 8;  // elements between rows; if not a multiple of 8, 16-byte copies cannot read the rows

    int64_t tokens() const { return cu_seqlens.back(); }
    int64_t longest() const { return cpu::longest_sequence(cu_seqlens); }
};

AttentionShape shape_of(int n_heads, int n_kv_heads, int head_dim, int window, float soft_cap = 0) {
    return {n_heads, n_kv_heads, head_dim, window, 1.0f / std::sqrt(static_cast<float>(head_dim)), soft_cap};
}

// Normally distributed, rounded to T; the columns of padding are NaN.
template <class T>
std::vector<T> random_rows(int64_t rows, int64_t cols, int64_t stride, uint32_t seed, float deviation) {
    std::mt19937 generator(seed);
    std::normal_distribution<float> normal(0.0f, deviation);
    std::vector<T> values(static_cast<size_t>(rows * stride), narrow<T>(NAN));
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j++) values[static_cast<size_t>(i * stride + j)] = narrow<T>(normal(generator));
    return values;
}

template <class T>
struct Result {
    std::vector<T> out, dqkv;
    std::vector<float> lse;

    bool operator==(const Result& other) const {
        return same_bits(out, other.out) && same_bits(dqkv, other.dqkv) && same_bits(lse, other.lse);
    }
};

template <class T>
struct Inputs {
    std::vector<T> qkv, dout;
    int64_t qkv_stride, out_cols, out_stride;

    explicit Inputs(const Problem& problem)
        : qkv_stride(problem.shape.qkv_width() + problem.padding),
          out_cols(problem.shape.n_heads * problem.shape.head_dim),
          out_stride(out_cols + problem.padding) {
        qkv = random_rows<T>(problem.tokens(), problem.shape.qkv_width(), qkv_stride, 1, problem.deviation);
        dout = random_rows<T>(problem.tokens(), out_cols, out_stride, 2, 1.0f);
    }
};

// Forward, then backward.
template <class T>
Result<T> run(const cuda::Device<T>& device, const Problem& problem, const Inputs<T>& inputs) {
    const AttentionShape& shape = problem.shape;
    const int64_t n = problem.tokens();
    const DeviceVector<int32_t> cu_seqlens(problem.cu_seqlens);
    const DeviceVector<T> qkv(inputs.qkv), dout(inputs.dout);
    DeviceVector<T> out(n * inputs.out_stride), dqkv(n * inputs.qkv_stride);
    DeviceVector<float> lse(n * shape.n_heads), workspace(cuda::attention_workspace(device, shape, n));
    const Matrix<T> qkv_matrix = qkv.matrix(n, shape.qkv_width(), inputs.qkv_stride);
    const Matrix<T> out_matrix = out.matrix(n, inputs.out_cols, inputs.out_stride);
    const Matrix<float> lse_matrix = lse.matrix(n, shape.n_heads);
    cuda::attention_forward<T>(device, out_matrix, lse_matrix, qkv_matrix, cu_seqlens.span(), problem.longest(), shape,
                               workspace.span());
    cuda::attention_backward<T>(device, dqkv.matrix(n, shape.qkv_width(), inputs.qkv_stride),
                                dout.matrix(n, inputs.out_cols, inputs.out_stride), out_matrix, lse_matrix, qkv_matrix,
                                cu_seqlens.span(), problem.longest(), shape, workspace.span());
    return {out.download(), dqkv.download(), lse.download()};
}

// The CPU operators on the same rounded inputs; the backward takes the out and lse it is to be compared on.
template <class T>
Result<float> expected(const Problem& problem, const Inputs<T>& inputs, const Result<T>& seen) {
    const AttentionShape& shape = problem.shape;
    const int64_t n = problem.tokens();
    std::vector<float> qkv = widen(inputs.qkv), dout = widen(inputs.dout), seen_out = widen(seen.out);
    Result<float> result{std::vector<float>(n * inputs.out_stride), std::vector<float>(n * inputs.qkv_stride),
                         std::vector<float>(n * shape.n_heads)};
    std::vector<float> workspace(cpu::attention_workspace(kCpu, shape, 0));
    const Matrix<const float> qkv_matrix(qkv.data(), n, shape.qkv_width(), inputs.qkv_stride);
    cpu::attention_forward<float>(kCpu, {result.out.data(), n, inputs.out_cols, inputs.out_stride},
                                  {result.lse.data(), n, shape.n_heads}, qkv_matrix, problem.cu_seqlens,
                                  problem.longest(), shape, workspace);
    cpu::attention_backward<float>(
        kCpu, {result.dqkv.data(), n, shape.qkv_width(), inputs.qkv_stride},
        {dout.data(), n, inputs.out_cols, inputs.out_stride}, {seen_out.data(), n, inputs.out_cols, inputs.out_stride},
        {seen.lse.data(), n, shape.n_heads}, qkv_matrix, problem.cu_seqlens, problem.longest(), shape, workspace);
    return result;
}

// max |seen - expected| over rows of `cols` columns, relative to max |expected|; NaN where either is NaN or where the
// padding between the rows was written.
template <class T>
double error_of(const std::vector<T>& seen, const std::vector<float>& expected, int64_t cols, int64_t stride) {
    double error = 0, largest = 1e-30;
    for (size_t i = 0; i < seen.size(); i++) {
        const float value = widen(seen[i]);
        if (static_cast<int64_t>(i) % stride >= cols) {
            if (!std::isnan(value)) return NAN;  // poison
            continue;
        }
        const double difference = std::abs(static_cast<double>(value) - static_cast<double>(expected[i]));
        if (!(difference <= error)) error = difference;
        largest = std::max<double>(largest, std::abs(expected[i]));
    }
    return error / largest;
}

template <class T>
void check_against_cpu(const Problem& problem) {
    INFO("head_dim " << problem.shape.head_dim << ", " << problem.shape.n_heads << " heads over "
                     << problem.shape.n_kv_heads << ", window " << problem.shape.window << ", cap "
                     << problem.shape.soft_cap << ", roundoff " << unit_roundoff<T>());
    const cuda::Device<T> device;
    const Inputs<T> inputs(problem);
    const Result<T> seen = run(device, problem, inputs);
    const Result<float> reference = expected(problem, inputs, seen);
    // P is rounded to T before P V, and out once more: each at most one roundoff of max |v|, which out reaches where a
    // token sees only itself. The same for dv. dq and dk are sums over dS, rounded likewise. fp32 sums of some hundred
    // terms add 2e-6 of the whole.
    const double bound = 2.0 * static_cast<double>(unit_roundoff<T>()) + 2e-6;
    const int64_t width = problem.shape.qkv_width();
    CHECK(error_of(seen.out, reference.out, inputs.out_cols, inputs.out_stride) < bound);
    CHECK(error_of(seen.dqkv, reference.dqkv, width, inputs.qkv_stride) < bound);
    // Scores come from exact inputs in fp32 whatever T is.
    CHECK(error_of(seen.lse, reference.lse, 1, 1) < 2e-6);
}

template <class T>
void check_schedules(const Problem& problem) {
    const cuda::Device<T> device;
    const Inputs<T> inputs(problem);
    const Result<T> seen = run(device, problem, inputs);
    for_each_schedule([&] { CHECK(run(device, problem, inputs) == seen); });
}

}  // namespace

// Windows of 34, 66 and 26: the last query that sees the last of 32, 64 or 8 keys is the first of the next but one 32,
// 64 or 32 queries.
TEST_CASE("attention on tensor cores is the CPU's", "[cuda][attention]") {
    const Problem problem = GENERATE(
        Problem{shape_of(4, 1, 64, 0), {0, 1, 1, 66, 200}}, Problem{shape_of(2, 2, 64, 66), {0, 150}},
        Problem{shape_of(2, 1, 80, 0), {0, 65, 82}}, Problem{shape_of(2, 2, 96, 1), {0, 3, 70}},
        Problem{shape_of(4, 2, 96, 0), {0, 99}}, Problem{shape_of(2, 1, 96, 34), {0, 290}},
        Problem{shape_of(4, 1, 128, 33), {0, 128, 129, 140}}, Problem{shape_of(2, 1, 128, 33, 1.5f), {0, 1, 150}});
    check_against_cpu<bf16>(problem);
    check_against_cpu<fp16>(problem);
}

TEST_CASE("attention of any head size and any type is the CPU's", "[cuda][attention]") {
    const Problem problem =
        GENERATE(Problem{shape_of(4, 1, 16, 0), {0, 1, 1, 34, 100}}, Problem{shape_of(6, 2, 24, 5), {0, 9, 50}},
                 Problem{shape_of(2, 2, 48, 26), {0, 70}}, Problem{shape_of(2, 1, 256, 0), {0, 21}},
                 Problem{shape_of(3, 3, 5, 1), {0, 40}}, Problem{shape_of(4, 2, 24, 26, 1.5f), {0, 9, 70}},
                 Problem{shape_of(2, 1, 64, 0, 1.5f), {0, 21}});
    check_against_cpu<float>(problem);
    check_against_cpu<bf16>(problem);
    check_against_cpu<fp16>(problem);
}

TEST_CASE("attention has the same bits in every run and every schedule", "[cuda][attention]") {
    check_schedules<bf16>({shape_of(2, 1, 64, 70), {0, 3, 140}});
    check_schedules<fp16>({shape_of(2, 2, 128, 0), {0, 80}});
    check_schedules<fp16>({shape_of(2, 1, 128, 40, 2.0f), {0, 80}});
    check_schedules<float>({shape_of(4, 2, 24, 0), {0, 1, 45}});
}

TEST_CASE("attention in float takes the usual head sizes, too", "[cuda][attention]") {
    check_against_cpu<float>({shape_of(4, 2, GENERATE(64, 128), 40), {0, 7, 60}});
}

TEST_CASE("attention of rows that no 16-byte copy can read is the CPU's", "[cuda][attention]") {
    check_against_cpu<fp16>({shape_of(2, 1, 64, 0), {0, 40}, 1.0f, 5});
}

TEST_CASE("CUDA attention survives scores far outside the range of exp", "[cuda][attention]") {
    // A score of 2000 is known to 2000 * 2^-24 * 8 additions = 1e-3, and so is the logarithm of a probability.
    const auto check = []<class T>(T) {
        const Problem problem{shape_of(2, 1, 64, 0), {0, 130}, 20.0f};
        const cuda::Device<T> device;
        const Inputs<T> inputs(problem);
        const Result<T> seen = run(device, problem, inputs);
        const Result<float> reference = expected(problem, inputs, seen);
        CHECK(error_of(seen.out, reference.out, inputs.out_cols, inputs.out_stride) <
              2.0 * static_cast<double>(unit_roundoff<T>()) + 1e-3);
        CHECK(error_of(seen.lse, reference.lse, 1, 1) < 1e-6);
        CHECK(error_of(seen.dqkv, reference.dqkv, problem.shape.qkv_width(), inputs.qkv_stride) <
              2.0 * static_cast<double>(unit_roundoff<T>()) + 1e-3);
    };
    check(float());
    check(fp16());
}

TEST_CASE("CUDA attention caps scores far beyond the cap", "[cuda][attention]") {
    // Gemma 2's cap. Scores are up to 500, most are capped: what moves between keys is the rounding of the tanh, 4e-7
    // of the cap, and the softmax of many equal scores.
    const auto check = []<class T>(T) {
        const Problem problem{shape_of(2, 1, 128, 0, 50.0f), {0, 130}, 10.0f};
        const cuda::Device<T> device;
        const Inputs<T> inputs(problem);
        const Result<T> seen = run(device, problem, inputs);
        const Result<float> reference = expected(problem, inputs, seen);
        const double bound = 2.0 * static_cast<double>(unit_roundoff<T>()) + 50 * 2e-6;
        CHECK(error_of(seen.out, reference.out, inputs.out_cols, inputs.out_stride) < bound);
        CHECK(error_of(seen.lse, reference.lse, 1, 1) < 2e-6);
        CHECK(error_of(seen.dqkv, reference.dqkv, problem.shape.qkv_width(), inputs.qkv_stride) < bound);
    };
    check(float());
    check(fp16());
}

TEST_CASE("attention backward has the same bits with whatever tiles fit into shared memory", "[cuda][attention]") {
    const auto [head_dim, soft_cap] =
        GENERATE(std::pair(64, 0.0f), std::pair(96, 0.0f), std::pair(128, 0.0f), std::pair(128, 2.0f));
    const Problem problem{shape_of(2, 1, head_dim, 40, soft_cap), {0, 200}};
    cuda::Device<fp16> device;
    const Inputs<fp16> inputs(problem);
    const Result<fp16> with_most = run(device, problem, inputs);
    device.shared_bytes_per_block = GENERATE(64, 99) << 10;
    CHECK(run(device, problem, inputs) == with_most);
}

#ifdef LLMC_EMULATED
TEST_CASE("attention of every head size fits the 64 KiB of compute capability 7.5", "[cuda][attention]") {
    emu::machine().major = 7;
    emu::machine().minor = 5;
    const Problem problem{shape_of(1, 1, GENERATE(16, 64, 80, 96, 128), 0), {0, 2}};
    const cuda::Device<fp16> device;
    CHECK_NOTHROW(run(device, problem, Inputs<fp16>(problem)));
    emu::machine() = {};
}

TEST_CASE("ldmatrix reads eight rows of an attention tile from eight different banks", "[cuda][attention]") {
    const auto check = []<int kHeadDim>(std::integral_constant<int, kHeadDim>) {
        alignas(128) static fp16 memory[64 * kHeadDim];
        const cuda::HeadTile<fp16, kHeadDim> tile{memory};
        for (int row = 0; row < 64; row += 8) {
            for (int index = 0; index < kHeadDim / 8; index++) {
                std::set<uintptr_t> banks;
                for (int i = 0; i < 8; i++) banks.insert(reinterpret_cast<uintptr_t>(tile.chunk(row + i, index)) % 128);
                CHECK(banks.size() == 8);
            }
        }
    };
    check(std::integral_constant<int, 64>());
    check(std::integral_constant<int, 80>());
    check(std::integral_constant<int, 96>());
    check(std::integral_constant<int, 128>());
}
#endif

TEST_CASE("decoding the last token is the CPU's", "[cuda][attention]") {
    const auto [window, soft_cap] =
        GENERATE(std::pair(0, 0.0f), std::pair(1, 0.0f), std::pair(70, 0.0f), std::pair(70, 1.5f));
    const AttentionShape shape = shape_of(6, 2, GENERATE(16, 64, 128), window, soft_cap);
    const int64_t n = GENERATE(1, 9, 300);
    const auto check = [&]<class T>(T) {
        const cuda::Device<T> device;
        const int64_t q_cols = shape.n_heads * shape.head_dim, kv_cols = shape.n_kv_heads * shape.head_dim;
        const std::vector<T> qkv = random_rows<T>(n, shape.qkv_width(), shape.qkv_width(), 3, 1.0f);
        const std::vector<float> wide = widen(qkv);
        const Matrix<const float> cpu_rows(wide.data(), n, shape.qkv_width());
        std::vector<float> reference(q_cols);
        cpu::attention_decode<float>(kCpu, {reference.data(), 1, q_cols}, cpu_rows.rows_at(n - 1, 1).columns(0, q_cols),
                                     cpu_rows.columns(q_cols, kv_cols), cpu_rows.columns(q_cols + kv_cols, kv_cols),
                                     shape);
        const DeviceVector<T> input(qkv);
        const Matrix<T> rows = input.matrix(n, shape.qkv_width());
        for_each_schedule([&] {
            DeviceVector<T> out(q_cols);
            cuda::attention_decode<T>(device, out.matrix(1, q_cols), rows.rows_at(n - 1, 1).columns(0, q_cols),
                                      rows.columns(q_cols, kv_cols), rows.columns(q_cols + kv_cols, kv_cols), shape);
            // out alone is rounded to T.
            CHECK(error_of(out.download(), reference, q_cols, q_cols) < static_cast<double>(unit_roundoff<T>()) + 2e-6);
        });
    };
    check(float());
    check(bf16());
    check(fp16());
}

TEST_CASE("CUDA attention of no tokens does nothing", "[cuda][attention]") {
    const cuda::Device<bf16> device;
    const AttentionShape shape = shape_of(2, 1, 64, 0);
    const std::vector<int32_t> lengths = GENERATE(std::vector<int32_t>{0}, std::vector<int32_t>{0, 0});
    const DeviceVector<int32_t> cu_seqlens(lengths);
    const Matrix<bf16> none;
    const Matrix<float> no_lse;
    CHECK_NOTHROW(cuda::attention_forward<bf16>(device, none, no_lse, none, cu_seqlens.span(), 0, shape, {}));
    CHECK_NOTHROW(
        cuda::attention_backward<bf16>(device, none, none, none, no_lse, none, cu_seqlens.span(), 0, shape, {}));
}

TEST_CASE("CUDA attention refuses what it cannot compute", "[cuda][attention]") {
    const cuda::Device<float> device;
    const auto error = [&](const AttentionShape& shape) -> std::string {
        const Matrix<float> one(nullptr, 1, shape.qkv_width());
        try {
            cuda::attention_backward<float>(device, one, one, one, one, one, {}, 0, shape, {});
        } catch (const llmc::Error& error) {
            return error.what();
        }
        return "";
    };
    CHECK(error(shape_of(4, 3, 8, 0)).find("evenly") != std::string::npos);
    CHECK(error(shape_of(4, 2, 258, 0)).find("head_dim") != std::string::npos);
    CHECK(error(shape_of(4, 2, 8, 0)).find("workspace") != std::string::npos);
    CHECK(error({4, 2, 8, 0, 0.0f}).find("scale") != std::string::npos);
    CHECK(error(shape_of(4, 2, 8, 0, -50.0f)).find("soft cap") != std::string::npos);
}
