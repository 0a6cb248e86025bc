// The 16-bit products of a linear layer with LoRA: the large ones of --method fp, and the skinny ones beside them.
//
//   gemm_nt             y[n,o]  = sum_i x[n,i] w[o,i]                        forward
//   gemm_nn             dx[n,i] = sum_o dy[n,o] w[o,i]                       gradient of the input
//   lora_down           z[n,r]  = sum_i x[n,i] A[r,i]                        the adapter's narrow side
//   lora_down_dropout   z[n,r]  = sum_i dropout(x)[n,i] A[r,i]
//   joint_up            y[n,o] += sum_k z[n,k] wz[o,k]                       adapter and outlier channels together
//
// n: tokens; i, o: features; r: rank, 16 to 64 as a rule; k: rank and outlier channels, filled up to a multiple of 8.
//
//   all                 kernel 1   a thread an element
//   lora_down           kernel 2   tensor cores: reads x once and A once for every 32 tokens, straight into the
//                                  registers of the product, past shared memory. The warps of a block share out the
//                                  columns of x, so that all of the GPU is busy where z is small
//   lora_down_dropout   kernel 3   the same, with the mask drawn for the Eight of x that a lane has just loaded:
//                                  dropout(x) never goes to memory. Kernels 1, 2 and 4 are dropout_forward and theirs
//   all                 last       llmc/cuda/gemm.cuh: cuBLASLt
//
// The large ones count operations. A skinny one counts the bytes of its operands, read once, and of its result; with
// dropout those of the fused kernel for all versions, so that rates compare as times do.
#include "dev/cuda/common.cuh"
#include "llmc/cpu/dropout.h"
#include "llmc/cpu/gemm.h"
#include "llmc/cuda/dropout.cuh"
#include "llmc/cuda/gemm.cuh"
#include "llmc/cuda/mma.cuh"

namespace {

using namespace benchmark;
using cuda::Eight, cuda::from_float, cuda::to_float, cuda::kWarpSize;

// `adds`: += and not =.
template <class T>
__global__ void gemm_nt_kernel1(Matrix<T> y, Matrix<const T> x, Matrix<const T> w, bool adds) {
    const int64_t index = int64_t{blockIdx.x} * blockDim.x + threadIdx.x, n = index / y.cols, o = index % y.cols;
    if (n >= y.rows) return;
    float sum = 0;
    for (int64_t i = 0; i < x.cols; i++) sum += to_float(x(n, i)) * to_float(w(o, i));
    y(n, o) = from_float<T>(adds ? to_float(y(n, o)) + sum : sum);
}

template <class T>
__global__ void gemm_nn_kernel1(Matrix<T> dx, Matrix<const T> dy, Matrix<const T> w) {
    const int64_t index = int64_t{blockIdx.x} * blockDim.x + threadIdx.x, n = index / dx.cols, i = index % dx.cols;
    if (n >= dx.rows) return;
    float sum = 0;
    for (int64_t o = 0; o < dy.cols; o++) sum += to_float(dy(n, o)) * to_float(w(o, i));
    dx(n, i) = from_float<T>(sum);
}

template <class T>
void gemm_nt1(const cuda::Device<T>& device, int block, Matrix<T> y, Matrix<const T> x, Matrix<const T> w, bool adds) {
    cuda::launch(device, "gemm_nt_kernel1", gemm_nt_kernel1<T>, blocks(y.size(), block), block, 0, y, x, w, adds);
}

// ---- lora_down, kernels 2 and 3

constexpr int kSkinnyRowTiles = 2;  // of 16 rows, of a block
constexpr int kSkinnyRows = 16 * kSkinnyRowTiles;
constexpr int kMostRank = 64;

// Eight of T as the registers of two products: words 0 and 1 of the first, 2 and 3 of the second.
template <class T>
__device__ cuda::Packed<uint32_t, 4> register_words(const Eight<T>& eight) {
    cuda::Packed<uint32_t, 4> words;
    static_assert(sizeof words == sizeof eight);
    memcpy(&words, &eight, sizeof words);
    return words;
}

// z = x a^T, or dropout(x) a^T; x and a allow 16-byte loads (can_pack), a has at most 8 kTiles rows.
//
// A sum over columns may take them in any order, as long as both operands have the same. Of 32 columns of a row, a lane
// of the product wants four pairs; here they are the Eight it loads and draws the mask for, in two products of 16
// columns. Warp w of `warps` takes columns 32 w .. 32 w + 31, then those 32 warps further on. Shared memory: the sums
// of half the warps, which are added by halves, in a fixed order.
template <class T, int kTiles, bool kDropout>
__global__ void __launch_bounds__(256, kTiles <= 4 ? 2 : 1)
    lora_down_kernel(Matrix<T> z, Matrix<const T> x, Matrix<const T> a, float p, DropoutStream stream) {
    struct Rows {
        Eight<T> of[kSkinnyRowTiles][2];  // rows g and g + 8 of each tile
    };
    const int lane = threadIdx.x % kWarpSize, warp = threadIdx.x / kWarpSize, warps = blockDim.x / kWarpSize;
    const int64_t first_row = int64_t{blockIdx.x} * kSkinnyRows + lane / 4;
    const auto row = [&](int m, int half) { return first_row + 16 * m + 8 * half; };
    // Beyond the last row it is read again: what becomes of it is not stored.
    const auto eight_of = [](const Matrix<const T>& matrix, int64_t n, int64_t c) {
        if (c >= matrix.cols) return Eight<T>{};
        return *reinterpret_cast<const Eight<T>*>(matrix.row(n < matrix.rows ? n : matrix.rows - 1) + c);
    };
    const auto load = [&](int64_t c) {
        Rows rows;
#pragma unroll
        for (int m = 0; m < kSkinnyRowTiles; m++) {
#pragma unroll
            for (int half = 0; half < 2; half++) rows.of[m][half] = eight_of(x, row(m, half), c);
        }
        return rows;
    };

    const float keep_factor = dropout_keep_factor(p);
    const auto drop = [&](Rows& rows, int64_t c) {
        // A byte for each row, one after the other: all at once would take more registers than there are.
        uint32_t kept = 0;
#pragma unroll 1
        for (int i = 0; i < 2 * kSkinnyRowTiles; i++)
            kept |= cuda::dropout_bits(stream, first_row + 8 * i, c, p) << (8 * i);
#pragma unroll
        for (int i = 0; i < 16 * kSkinnyRowTiles; i++) {
            T& value = rows.of[i / 16][i / 8 % 2][i % 8];
            value = from_float<T>(to_float(value) * (kept >> i & 1 ? keep_factor : 0.0f));
        }
    };

    float sums[kSkinnyRowTiles][kTiles][4] = {};
    const int64_t step = int64_t{32} * warps;
    int64_t c = 32 * warp + 8 * (lane % 4);
    Rows next = load(c);
    for (int64_t begin = 32 * warp; begin < x.cols; begin += step, c += step) {
        Rows rows = next;
        next = load(c + step);  // on its way while these are multiplied
        if constexpr (kDropout) drop(rows, c);
#pragma unroll
        for (int t = 0; t < kTiles; t++) {
            const auto column = register_words(eight_of(a, 8 * t + lane / 4, c));
#pragma unroll
            for (int m = 0; m < kSkinnyRowTiles; m++) {
                const auto upper = register_words(rows.of[m][0]), lower = register_words(rows.of[m][1]);
#pragma unroll
                for (int k = 0; k < 4; k += 2)
                    cuda::mma_m16n8k16<T>(sums[m][t], {upper[k], lower[k], upper[k + 1], lower[k + 1]}, column[k],
                                          column[k + 1]);
            }
        }
    }

    constexpr int kSums = kSkinnyRowTiles * kTiles * 4;  // of a lane
    float* own = &sums[0][0][0];
    for (int half = warps / 2; half > 0; half /= 2) {
        float* shared = cuda::shared_memory<float>() + warp % half * kSums * kWarpSize + lane;
        if (warp >= half && warp < 2 * half) {
#pragma unroll
            for (int i = 0; i < kSums; i++) shared[i * kWarpSize] = own[i];
        }
        __syncthreads();  // the upper half's sums are there
        if (warp < half) {
#pragma unroll
            for (int i = 0; i < kSums; i++) own[i] += shared[i * kWarpSize];
        }
        __syncthreads();  // and read
    }
    if (warp > 0) return;
#pragma unroll
    for (int i = 0; i < kSums; i++) {
        const int64_t n = row(i / (4 * kTiles), i % 4 / 2), r = i / 4 % kTiles * 8 + lane % 4 * 2 + i % 2;
        if (n < z.rows && r < z.cols) z(n, r) = from_float<T>(own[i]);
    }
}

template <class T>
bool lora_down_takes(const Matrix<const T>& x, const Matrix<const T>& a) {
    return sizeof(T) == 2 && cuda::can_pack<8>(x) && cuda::can_pack<8>(a) && a.rows <= kMostRank;
}

// z [N,R] = x [N,I] a [R,I]^T; with kDropout of dropout(x), as dropout_forward rounds it.
template <bool kDropout, class T>
void lora_down(const cuda::Device<T>& device, int block, Matrix<T> z, Matrix<const T> x, Matrix<const T> a, float p,
               const DropoutStream& stream) {
    require(lora_down_takes(x, a), "lora_down takes 16-bit rows at multiples of 16 bytes and a rank of at most ",
            kMostRank);
    require(block >= kWarpSize && block <= 256 && (block & (block - 1)) == 0,
            "lora_down has blocks of 32, 64, 128 or 256", " threads, not ", block);
    if constexpr (sizeof(T) == 2) {
        const auto launch = [&]<int kTiles>() {
            const size_t half_the_sums = block / 2 * kSkinnyRowTiles * kTiles * 4 * sizeof(float);
            cuda::launch(device, "lora_down", lora_down_kernel<T, kTiles, kDropout>, blocks(z.rows, kSkinnyRows), block,
                         half_the_sums, z, x, a, p, stream);
        };
        if (a.rows <= 16)
            launch.template operator()<2>();
        else if (a.rows <= 32)
            launch.template operator()<4>();
        else
            launch.template operator()<8>();
    }
}

// What a sum of `terms` products of numbers below 1 may be off by: roundings of fp32 as often up as down.
template <class T>
Tolerance sum_of(int64_t terms) {
    return rounded_to<T>({0, 0x1p-24 * static_cast<double>(terms) + 1e-6});
}

// A linear layer, as a shape describes it.
struct Linear {
    int64_t n, out, in, rank, outliers;
    explicit Linear(const Shape& shape)
        : n(shape[0]), out(shape[1]), in(shape[2]), rank(shape[3]), outliers(shape[4]) {}

    Work operations() const {
        return float_operations(2.0 * static_cast<double>(n) * static_cast<double>(out) * static_cast<double>(in));
    }
};

template <class T>
void large(const Bench<T>& bench, const Shape& shape) {
    const auto& device = bench.device;
    const Linear linear(shape);
    const Tensor<T> x(linear.n, linear.in, 1), w(linear.out, linear.in, 2), dy(linear.n, linear.out, 3);
    const Tensor<T> y(linear.n, linear.out), dx(linear.n, linear.in);
    HostMatrix<double> expected_y(linear.n, linear.out), expected_dx(linear.n, linear.in);

    bench.run({
        .name = "gemm_nt",
        .shape = shape,
        .work = linear.operations(),
        .reference =
            [&] { cpu::gemm_nt<double>({}, expected_y, x.template host<double>(), w.template host<double>(), 1, 0); },
        .outputs = {written("y", y, expected_y, sum_of<T>(linear.in))},
        .versions =
            {{1, "a thread an element", {128, 256}, [&](int block) { gemm_nt1<T>(device, block, y, x, w, false); }},
             {2, "llmc: cuBLASLt", {}, [&](int) { cuda::gemm_nt<T>(device, y.view(), x, w, 1, 0); }}},
    });
    bench.run({
        .name = "gemm_nn",
        .shape = shape,
        .work = linear.operations(),
        .reference =
            [&] { cpu::gemm_nn<double>({}, expected_dx, dy.template host<double>(), w.template host<double>(), 1, 0); },
        .outputs = {written("dx", dx, expected_dx, sum_of<T>(linear.out))},
        .versions = {{1,
                      "a thread an element",
                      {128, 256},
                      [&](int block) {
                          cuda::launch(device, "gemm_nn_kernel1", gemm_nn_kernel1<T>, blocks(dx.view().size(), block),
                                       block, 0, dx, dy, w);
                      }},
                     {2, "llmc: cuBLASLt", {}, [&](int) { cuda::gemm_nn<T>(device, dx.view(), dy, w, 1, 0); }}},
    });
}

template <class T>
void down(const Bench<T>& bench, const Shape& shape) {
    const auto& device = bench.device;
    const Linear linear(shape);
    const Tensor<T> x(linear.n, linear.in, 1), a(linear.rank, linear.in, 2), z(linear.n, linear.rank);
    const bool takes = lora_down_takes<T>(x, a);
    HostMatrix<double> expected(linear.n, linear.rank);

    bench.run({
        .name = "lora_down",
        .shape = shape,
        .work = moved(x.bytes() + a.bytes() + z.bytes()),
        .reference =
            [&] { cpu::gemm_nt<double>({}, expected, x.template host<double>(), a.template host<double>(), 1, 0); },
        .outputs = {written("z", z, expected, sum_of<T>(linear.in))},
        .versions =
            {{1, "a thread an element", {128, 256}, [&](int block) { gemm_nt1<T>(device, block, z, x, a, false); }},
             {2,
              "tensor cores, straight to registers",
              {256, 64, 128},
              [&](int block) { lora_down<false, T>(device, block, z, x, a, 0, {}); },
              takes},
             {4, "llmc: cuBLASLt", {}, [&](int) { cuda::gemm_nt<T>(device, z.view(), x, a, 1, 0); }}},
    });

    const float p = 0.1f;
    const DropoutStream stream{.seed = 42, .micro_batch = 7, .layer_id = 3};
    const Tensor<T> dropped(linear.n, linear.in);
    const auto drop = [&] { cuda::dropout_forward<T>(device, dropped, x, p, stream); };
    bench.run({
        .name = "lora_down_dropout",
        .shape = shape,
        .work = moved(x.bytes() + a.bytes() + z.bytes()),
        .reference =
            [&] {
                HostMatrix<double> host_dropped(linear.n, linear.in);
                cpu::dropout_forward<double>({}, host_dropped, x.template host<double>(), p, stream);
                round_to<T>(host_dropped);
                cpu::gemm_nt<double>({}, expected, host_dropped, a.template host<double>(), 1, 0);
            },
        .outputs = {written("z", z, expected, sum_of<T>(linear.in))},
        .versions = {{1,
                      "dropout; a thread an element",
                      {128, 256},
                      [&](int block) {
                          drop();
                          gemm_nt1<T>(device, block, z, dropped, a, false);
                      }},
                     {2,
                      "dropout; tensor cores",
                      {256, 64, 128},
                      [&](int block) {
                          drop();
                          lora_down<false, T>(device, block, z, dropped, a, 0, {});
                      },
                      takes},
                     {3,
                      "one kernel, mask in registers",
                      {256, 64, 128},
                      [&](int block) { lora_down<true, T>(device, block, z, x, a, p, stream); },
                      takes},
                     {4,
                      "llmc: dropout; cuBLASLt",
                      {},
                      [&](int) {
                          drop();
                          cuda::gemm_nt<T>(device, z.view(), dropped, a, 1, 0);
                      }}},
    });
}

template <class T>
void up(const Bench<T>& bench, const Shape& shape) {
    const auto& device = bench.device;
    const Linear linear(shape);
    const int64_t terms = cuda::padded_contraction(device, linear.rank + linear.outliers);
    const Tensor<T> z(linear.n, terms, 1), wz(linear.out, terms, 2), before(linear.n, linear.out, 3);
    const Tensor<T> y(linear.n, linear.out);
    HostMatrix<double> expected(linear.n, linear.out);
    // cuBLASLt rounds the product to T before it adds y, and the sum once more. The product is at most the result and
    // y, which is below 1, together.
    const Tolerance sum = sum_of<T>(terms), allowed = rounded_to<T>({sum.relative, sum.absolute + unit_roundoff<T>()});

    bench.run({
        .name = "joint_up",
        .shape = shape,
        .work = moved(2 * y.bytes() + z.bytes() + wz.bytes()),
        .reference =
            [&] {
                expected = before.template host<double>();
                cpu::gemm_nt<double>({}, expected, z.template host<double>(), wz.template host<double>(), 1, 1);
            },
        .outputs = {updated("y", y, before, expected, allowed)},
        .versions =
            {{1, "a thread an element", {128, 256}, [&](int block) { gemm_nt1<T>(device, block, y, z, wz, true); }},
             {2, "llmc: cuBLASLt", {}, [&](int) { cuda::gemm_nt<T>(device, y.view(), z, wz, 1, 1); }}},
    });
}

// Timed: o_proj, qkv_proj, gate_up_proj and down_proj of Phi-3-mini, with 2% of their channels as outliers; r = 64.
const Program kProgram{
    .operators = "gemm_nt, gemm_nn, lora_down, lora_down_dropout, joint_up",
    .dimensions = "tokens x out x in x rank x outliers",
    .odd = {{3, 5, 7, 2, 1}, {33, 61, 200, 16, 12}, {70, 40, 136, 37, 0}, {1, 130, 264, 24, 60}},
    .timed = {{8192, 3072, 3072, 16, 60},
              {8192, 9216, 3072, 16, 60},
              {8192, 16384, 3072, 16, 60},
              {8192, 3072, 8192, 16, 160},
              {8192, 3072, 3072, 64, 60}},
};

}  // namespace

int main(int argc, char** argv) {
    return run(argc, argv, kProgram, []<class T>(const Bench<T>& bench, const Shape& shape) {
        large(bench, shape);
        down(bench, shape);
        up(bench, shape);
    });
}
