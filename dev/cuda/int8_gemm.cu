// Products of int8 matrices, dequantised: from a thread an element to tensor cores, forward and backward.
//
//   int8_gemm_nt   y[n,o] = row_scale[n] col_scale[o] sum_i xq[n,i] wq[o,i]        forward
//   int8_gemm_nn   y[n,i] = row_scale[n] sum_o gq[n,o] wq[o,i]                     gradient of the input
//
// n: tokens; i, o: features. y is written (=). Operands are padded as llmc/cuda/gemm/int8_gemm.cuh wants them: rows of
// a multiple of 16 bytes, zeros behind those of wq. The sums are exact whatever their order, so that all versions have
// the same bits.
//
//   kernel 1   a thread an element: every operand comes from memory, a byte at a time
//   kernel 2   a block has 64 x 64 elements and their operands in shared memory, a thread 4 x 4: dp4a, four products an
//              instruction
//   kernel 3   tensor cores: a block has 128 x 128 elements, a warp 64 x 64 or 64 x 32 of them in registers; operands
//              arrive by cp.async two slabs ahead; the sums are dequantised in place and never go to memory
//   kernel 4   llmc/cuda/gemm/int8_gemm.cuh: cuBLASLt, whose sums go to L2 and are dequantised from there
//   kernel 5   llmc/cuda/gemm/int8_gemm_hopper.cuh, for sm_90 alone: like kernel 3, by products of whole warpgroups,
//              which read shared memory themselves and leave the threads free to load
//
// Tensor cores and dp4a sum along rows of both operands. Backward, kernels 2 to 5 transpose the weight first; their
// time includes that.
#include "dev/cuda/common.cuh"
#include "llmc/core/integers.h"
#include "llmc/cpu/gemm/int8_gemm.h"
#include "llmc/cuda/gemm/int8_gemm.cuh"
#include "llmc/cuda/kernel/mma.cuh"
#include "llmc/cuda/kernel/shared_tile.cuh"
#include "llmc/cuda/kernel/tile_order.cuh"

namespace {

using namespace benchmark;
using cuda::Eight, cuda::from_float, cuda::kWarpSize;

// col_scale may be null: 1.
template <class T>
__device__ T dequantized(int32_t sum, int64_t row, int64_t col, const float* row_scale, const float* col_scale) {
    const float scale = col_scale == nullptr ? row_scale[row] : row_scale[row] * col_scale[col];
    return from_float<T>(scale * static_cast<float>(sum));
}

template <class T>
__global__ void int8_gemm_nt_kernel1(Matrix<T> y, Matrix<const int8_t> xq, const float* row_scale,
                                     Matrix<const int8_t> wq, const float* col_scale) {
    const int64_t index = int64_t{blockIdx.x} * blockDim.x + threadIdx.x, n = index / y.cols, o = index % y.cols;
    if (n >= y.rows) return;
    int32_t sum = 0;
    for (int64_t i = 0; i < xq.cols; i++) sum += xq(n, i) * wq(o, i);
    y(n, o) = dequantized<T>(sum, n, o, row_scale, col_scale);
}

template <class T>
__global__ void int8_gemm_nn_kernel1(Matrix<T> y, Matrix<const int8_t> gq, const float* row_scale,
                                     Matrix<const int8_t> wq) {
    const int64_t index = int64_t{blockIdx.x} * blockDim.x + threadIdx.x, n = index / y.cols, i = index % y.cols;
    if (n >= y.rows) return;
    int32_t sum = 0;
    for (int64_t o = 0; o < gq.cols; o++) sum += gq(n, o) * wq(o, i);
    y(n, i) = dequantized<T>(sum, n, i, row_scale, nullptr);
}

// ---- kernel 2

struct Dp4a {
    static constexpr int kTile = 64;        // rows and columns of y that a block has
    static constexpr int kWords = 16;       // of four bytes: how deep a slab is
    static constexpr int kThreads = 256;    // one loads 16 bytes of each operand
    static constexpr int kRow = kTile + 4;  // spreads written columns over the banks
};

// Word w of row r goes to slab[w][r], so that a thread finds the words of its four rows side by side.
__device__ void load_words(int32_t (&slab)[Dp4a::kWords][Dp4a::kRow], const Matrix<const int8_t>& m, int64_t first_row,
                           int64_t column, int64_t depth) {
    const int row = threadIdx.x / 4, chunk = threadIdx.x % 4;
    column += 16 * chunk;
    int4 words = make_int4(0, 0, 0, 0);
    if (first_row + row < m.rows && column < depth)
        words = *reinterpret_cast<const int4*>(m.row(first_row + row) + column);
    slab[4 * chunk][row] = words.x;
    slab[4 * chunk + 1][row] = words.y;
    slab[4 * chunk + 2][row] = words.z;
    slab[4 * chunk + 3][row] = words.w;
}

// y = dequantised a b^T, summed over `depth` columns, a multiple of 16. Grid: x columns, y rows.
template <class T>
__global__ void __launch_bounds__(Dp4a::kThreads)
    int8_gemm_kernel2(Matrix<T> y, Matrix<const int8_t> a, const float* row_scale, Matrix<const int8_t> b,
                      const float* col_scale, int64_t depth) {
    alignas(16) __shared__ int32_t a_slab[Dp4a::kWords][Dp4a::kRow], b_slab[Dp4a::kWords][Dp4a::kRow];
    const int64_t first_row = int64_t{blockIdx.y} * Dp4a::kTile, first_col = int64_t{blockIdx.x} * Dp4a::kTile;
    const int row = threadIdx.x / 16 * 4, col = threadIdx.x % 16 * 4;
    int32_t sums[4][4] = {};
    for (int64_t k = 0; k < depth; k += 4 * Dp4a::kWords) {
        load_words(a_slab, a, first_row, k, depth);
        load_words(b_slab, b, first_col, k, depth);
        __syncthreads();  // the slabs are there
#pragma unroll
        for (int w = 0; w < Dp4a::kWords; w++) {
            const auto a_words = *reinterpret_cast<const cuda::Packed<int32_t, 4>*>(&a_slab[w][row]);
            const auto b_words = *reinterpret_cast<const cuda::Packed<int32_t, 4>*>(&b_slab[w][col]);
#pragma unroll
            for (int i = 0; i < 4; i++) {
#pragma unroll
                for (int j = 0; j < 4; j++) sums[i][j] = __dp4a(a_words[i], b_words[j], sums[i][j]);
            }
        }
        __syncthreads();  // the slabs are read
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const int64_t n = first_row + row + i;
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const int64_t o = first_col + col + j;
            if (n < y.rows && o < y.cols) y(n, o) = dequantized<T>(sums[i][j], n, o, row_scale, col_scale);
        }
    }
}

template <class T>
void int8_gemm2(const cuda::Device<T>& device, Matrix<T> y, Matrix<const int8_t> a, const float* row_scale,
                Matrix<const int8_t> b, const float* col_scale, int64_t depth) {
    const dim3 grid(static_cast<unsigned>(cuda::ceil_div(y.cols, Dp4a::kTile)),
                    static_cast<unsigned>(cuda::ceil_div(y.rows, Dp4a::kTile)));
    cuda::launch(device, "int8_gemm_kernel2", int8_gemm_kernel2<T>, grid, Dp4a::kThreads, 0, y, a, row_scale, b,
                 col_scale, depth);
}

// ---- kernel 3

// A block of 4 or 8 warps: 2 of 64 rows each, by 2 of 64 or 4 of 32 columns.
template <int kThreads>
struct MmaTiling {
    static constexpr int kTile = 128;    // rows and columns of y that a block has
    static constexpr int kDepth = 64;    // bytes of a row in a slab
    static constexpr int kStages = 3;    // slabs of each operand in shared memory: one in use, two on their way
    static constexpr int kRowTiles = 4;  // of 16 rows, of a warp
    static constexpr int kColTiles = kTile / (kThreads / kWarpSize / 2) / 8;  // of 8 columns, of a warp
    static constexpr size_t kSharedBytes = kStages * 2 * kTile * kDepth;

    using Slab = cuda::SharedTile<int8_t, kDepth>;
};

// Starts loading columns k .. k+63 of 128 rows; zeros where m has no row, and from column `depth` on.
template <int kThreads, bool kDealt>
__device__ void load_slab(typename MmaTiling<kThreads>::Slab slab, const Matrix<const int8_t>& m, int64_t first_row,
                          int64_t k, int64_t depth) {
    constexpr int kChunks = MmaTiling<kThreads>::Slab::kChunks;
#pragma unroll
    for (int n = 0; n < MmaTiling<kThreads>::kTile * kChunks / kThreads; n++) {
        const int i = n * kThreads + threadIdx.x, row = i / kChunks, index = i % kChunks;
        const int64_t column = k + 16 * index;
        cuda::cp_async_16(slab.chunk(kDealt ? cuda::dealt_column(row) : row, index), m.row(first_row + row) + column,
                          first_row + row < m.rows && column < depth);
    }
}

// y = dequantised a b^T, summed over `depth` columns, a multiple of 16. Grid: x tiles of y.
template <class T, int kThreads>
__global__ void __launch_bounds__(kThreads, 2)
    int8_gemm_kernel3(Matrix<T> y, Matrix<const int8_t> a, const float* row_scale, Matrix<const int8_t> b,
                      const float* col_scale, int64_t depth) {
    using Tiling = MmaTiling<kThreads>;
    using Slab = typename Tiling::Slab;
    constexpr int kRowTiles = Tiling::kRowTiles, kColTiles = Tiling::kColTiles, kStages = Tiling::kStages;
    const cuda::TileOrder::Origin origin =
        cuda::TileOrder(y.rows, y.cols, Tiling::kTile, Tiling::kTile).origin(static_cast<int>(blockIdx.x));
    const int lane = threadIdx.x % kWarpSize, warp = threadIdx.x / kWarpSize;
    const int warp_row = warp % 2 * 16 * kRowTiles, warp_col = warp / 2 * 8 * kColTiles;

    const auto a_slab = [](int stage) {
        return Slab{Slab{cuda::shared_memory<int8_t>()}.after(2 * stage * Tiling::kTile)};
    };
    const auto b_slab = [&](int stage) { return Slab{a_slab(stage).after(Tiling::kTile)}; };
    const auto load = [&](int slab) {
        const int64_t k = int64_t{slab} * Tiling::kDepth;
        if (k < depth) {
            load_slab<kThreads, false>(a_slab(slab % kStages), a, origin.row, k, depth);
            load_slab<kThreads, true>(b_slab(slab % kStages), b, origin.col, k, depth);
        }
        cuda::cp_async_commit();  // a group for every slab, so that waiting for all but so many finds the right one
    };

    int32_t sums[kRowTiles][kColTiles][4] = {};
    const int slabs = static_cast<int>(cuda::ceil_div(depth, Tiling::kDepth));
    for (int slab = 0; slab < kStages - 1; slab++) load(slab);
    for (int slab = 0; slab < slabs; slab++) {
        cuda::cp_async_wait<kStages - 2>();
        __syncthreads();  // this slab is there and the one before is read: the next may replace it
        load(slab + kStages - 1);
        const Slab rows = a_slab(slab % kStages), columns = b_slab(slab % kStages);
#pragma unroll
        for (int k = 0; k < Tiling::kDepth / 32; k++) {
            uint32_t a_registers[kRowTiles][4];
#pragma unroll
            for (int m = 0; m < kRowTiles; m++)
                cuda::ldmatrix_x4(a_registers[m], rows.chunk(warp_row + 16 * m + lane % 16, 2 * k + lane / 16));
#pragma unroll
            for (int t = 0; t < kColTiles; t += 2) {
                uint32_t b_registers[4];
                cuda::ldmatrix_x4(b_registers,
                                  columns.chunk(warp_col + 8 * t + lane / 16 * 8 + lane % 8, 2 * k + lane / 8 % 2));
#pragma unroll
                for (int m = 0; m < kRowTiles; m++) {
                    cuda::mma_m16n8k32_s8(sums[m][t], a_registers[m], b_registers[0], b_registers[1]);
                    cuda::mma_m16n8k32_s8(sums[m][t + 1], a_registers[m], b_registers[2], b_registers[3]);
                }
            }
        }
    }

#pragma unroll
    for (int i = 0; i < 2 * kRowTiles; i++) {
        const int64_t n = origin.row + warp_row + 8 * i + lane / 4;
        if (n >= y.rows) continue;
#pragma unroll
        for (int t = 0; t < kColTiles; t += 4) {
            const int64_t o = origin.col + warp_col + 8 * t + lane % 4 * 8;
            Eight<int32_t> of_eight;
#pragma unroll
            for (int k = 0; k < 8; k++) of_eight[k] = sums[i / 2][t + k / 2][i % 2 * 2 + k % 2];
            if (o < y.cols)
                cuda::store_eight(y.row(n), o, y.cols,
                                  cuda::dequantize_eight<T>(of_eight, o, y.cols, row_scale[n], col_scale, nullptr));
        }
    }
}

template <class T>
void int8_gemm3(const cuda::Device<T>& device, int block, Matrix<T> y, Matrix<const int8_t> a, const float* row_scale,
                Matrix<const int8_t> b, const float* col_scale, int64_t depth) {
    const auto launch = [&]<int kThreads>() {
        using Tiling = MmaTiling<kThreads>;
        const int64_t tiles = cuda::ceil_div(y.rows, Tiling::kTile) * cuda::ceil_div(y.cols, Tiling::kTile);
        cuda::launch(device, "int8_gemm_kernel3", int8_gemm_kernel3<T, kThreads>, dim3(static_cast<unsigned>(tiles)),
                     kThreads, Tiling::kSharedBytes, y, a, row_scale, b, col_scale, depth);
    };
    require(block == 128 || block == 256, "int8_gemm kernel 3 has blocks of 128 or 256 threads, not ", block);
    block == 128 ? launch.template operator()<128>() : launch.template operator()<256>();
}

// A random matrix, quantised, with rows and columns padded as the program does it.
template <class T>
struct Quantized {
    const Tensor<int8_t> memory;
    const Matrix<int8_t> q;
    const Tensor<float> scale;

    Quantized(const cuda::Device<T>& device, int64_t rows, int64_t cols, int64_t padded_rows, uint32_t seed)
        : memory(padded_rows, cuda::padded_features(device, cols)),
          q(memory.data(), padded_rows, cols, memory.cols()),
          scale(1, rows) {
        cuda::quantize_weight(device, q, scale.data(), Tensor<T>(rows, cols, seed).view(), 0);
    }

    HostMatrix<int8_t> host(int64_t rows) const {
        const std::vector<int8_t> values = memory.download();
        HostMatrix<int8_t> result(rows, q.cols);
        for (int64_t i = 0; i < rows; i++) std::copy_n(values.data() + i * q.stride, q.cols, &result(i, 0));
        return result;
    }
};

template <class T>
Quantized<T> quantized_tokens(const cuda::Device<T>& device, int64_t n, int64_t features) {
    return {device, n, features, cuda::padded_tokens(device, n), 1};
}
template <class T>
Quantized<T> quantized_weight(const cuda::Device<T>& device, int64_t out, int64_t in) {
    return {device, out, in, cuda::padded_features(device, out), 2};
}

template <class T>
void forward(const Bench<T>& bench, const Shape& shape) {
    const auto& device = bench.device;
    const int64_t n = shape[0], out = shape[1], in = shape[2], depth = cuda::padded_features(device, in);
    const auto x = quantized_tokens(device, n, in), w = quantized_weight(device, out, in);
    const Tensor<T> y(n, out);
    const Tensor<int32_t> workspace(1, cuda::int8_gemm_workspace(device));
    HostMatrix<float> expected(n, out);

    bench.run({
        .name = "int8_gemm_nt",
        .shape = shape,
        .work = int8_operations(2.0 * static_cast<double>(n) * static_cast<double>(out) * static_cast<double>(in)),
        .reference =
            [&] {
                const cpu::Device host;
                std::vector<int32_t> sums(static_cast<size_t>(cpu::int8_gemm_workspace(host)));
                cpu::int8_gemm_nt(host, expected, x.host(n), x.scale.template host<float>().data(), w.host(out),
                                  w.scale.template host<float>().data(), nullptr, {}, {}, sums);
                round_to<T>(expected);
            },
        .outputs = {written("y", y, expected, {})},  // two products of floats, in one order: the same bits
        .versions = {{1,
                      "a thread an element",
                      {128, 256},
                      [&](int block) {
                          cuda::launch(device, "int8_gemm_nt_kernel1", int8_gemm_nt_kernel1<T>, blocks(n * out, block),
                                       block, 0, y, x.q, x.scale.data(), w.q, w.scale.data());
                      }},
                     {2,
                      "dp4a, shared memory",
                      {},
                      [&](int) { int8_gemm2<T>(device, y, x.q, x.scale.data(), w.q, w.scale.data(), depth); }},
                     {3,
                      "tensor cores, dequantised in registers",
                      {128, 256},
                      [&](int block) {
                          int8_gemm3<T>(device, block, y, x.q, x.scale.data(), w.q, w.scale.data(), depth);
                      }},
                     {4,
                      "llmc elsewhere: cuBLASLt, dequantised from L2",
                      {},
                      [&](int) {
                          cuda::int8_gemm_cublaslt<T>(device, y, x.q, x.scale.data(), w.q, w.scale.data(), nullptr, {},
                                                      {}, depth, 0, workspace.span());
                      }},
                     {5,
                      "llmc on Hopper: warpgroups, dequantised in registers",
                      {},
                      [&](int) {
                          cuda::int8_gemm_hopper<T>(device, y, x.q, x.scale.data(), w.q, w.scale.data(), nullptr, depth,
                                                    {}, {});
                      },
                      cuda::int8_gemm_hopper_takes<T>(device, {}, {})}},
    });
}

template <class T>
void backward(const Bench<T>& bench, const Shape& shape) {
    const auto& device = bench.device;
    const int64_t n = shape[0], out = shape[1], in = shape[2], depth = cuda::padded_features(device, out);
    const auto g = quantized_tokens(device, n, out), w = quantized_weight(device, out, in);
    const Tensor<T> y(n, in);
    const Tensor<int8_t> turned(cuda::padded_features(device, in), depth);
    const Tensor<int32_t> workspace(1, cuda::int8_gemm_nn_workspace(device, out, in));
    HostMatrix<float> expected(n, in);
    const auto turn = [&] { cuda::transpose_int8(device, turned.view(), w.q.first_rows(out)); };

    bench.run({
        .name = "int8_gemm_nn",
        .shape = shape,
        .work = int8_operations(2.0 * static_cast<double>(n) * static_cast<double>(out) * static_cast<double>(in)),
        .reference =
            [&] {
                const cpu::Device host;
                std::vector<int32_t> sums(static_cast<size_t>(cpu::int8_gemm_nn_workspace(host, out, in)));
                cpu::int8_gemm_nn(host, expected, g.host(n), g.scale.template host<float>().data(), w.host(out), 0,
                                  sums);
                round_to<T>(expected);
            },
        .outputs = {written("y", y, expected, {})},
        .versions = {{1,
                      "a thread an element",
                      {128, 256},
                      [&](int block) {
                          cuda::launch(device, "int8_gemm_nn_kernel1", int8_gemm_nn_kernel1<T>, blocks(n * in, block),
                                       block, 0, y, g.q, g.scale.data(), w.q);
                      }},
                     {2,
                      "transpose, dp4a, shared memory",
                      {},
                      [&](int) {
                          turn();
                          int8_gemm2<T>(device, y, g.q, g.scale.data(), turned, nullptr, depth);
                      }},
                     {3,
                      "transpose, tensor cores",
                      {128, 256},
                      [&](int block) {
                          turn();
                          int8_gemm3<T>(device, block, y, g.q, g.scale.data(), turned, nullptr, depth);
                      }},
                     {4,
                      "llmc elsewhere: transpose, cuBLASLt",
                      {},
                      [&](int) {
                          turn();
                          cuda::int8_gemm_cublaslt<T>(device, y, g.q, g.scale.data(), turned, nullptr, nullptr, {}, {},
                                                      depth, 0, workspace.span());
                      }},
                     {5,
                      "llmc on Hopper: transpose, warpgroups",
                      {},
                      [&](int) {
                          turn();
                          cuda::int8_gemm_hopper<T>(device, y, g.q, g.scale.data(), turned, nullptr, nullptr, depth, {},
                                                    {});
                      },
                      cuda::int8_gemm_hopper_takes<T>(device, {}, {})}},
    });
}

// Timed: o_proj, qkv_proj, gate_up_proj and down_proj of Phi-3-mini.
const Program kProgram{
    .operators = "int8_gemm_nt, int8_gemm_nn",
    .dimensions = "tokens x out x in",
    .odd = {{3, 5, 7}, {1, 130, 61}, {131, 61, 200}, {33, 272, 129}, {2100, 130, 9}},
    .timed = {{8192, 3072, 3072}, {8192, 9216, 3072}, {8192, 16384, 3072}, {8192, 3072, 8192}},
};

}  // namespace

int main(int argc, char** argv) {
#ifdef LLMC_EMULATED
    emu::machine().major = 9;  // runs all versions
#endif
    return run(argc, argv, kProgram, []<class T>(const Bench<T>& bench, const Shape& shape) {
        forward(bench, shape);
        backward(bench, shape);
    });
}
