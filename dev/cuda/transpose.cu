// The transpose of an int8 matrix, from a byte a thread to the kernel that the program runs.
//
//   out[i,o] = wq[o,i]
//
// o: outputs; i: inputs of a linear. `out` is written (=). Its rows and columns are padded to multiples of 16, as the
// int8 GEMM wants them, with zeros beyond wq.
//
//   kernel 1   a thread a byte: neighbours write neighbours and read a row apart, 32 transactions of 32 bytes for 32
//   kernel 2   a tile of 32 x 32 in shared memory: rows are read, rows are written, a byte a thread
//   kernel 3   llmc/cuda/gemm/transpose.cuh: a tile of 128 x 128, 4 x 4 bytes transposed in a thread's registers, moved
//              as whole words
//
// Bytes: wq read, out written.
#include "dev/cuda/common.cuh"
#include "llmc/cuda/gemm/transpose.cuh"

namespace {

using namespace benchmark;

__global__ void transpose_kernel1(Matrix<int8_t> out, Matrix<const int8_t> wq) {
    const int64_t index = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    const int64_t i = index / out.cols, o = index % out.cols;
    if (i < out.rows) out(i, o) = o < wq.rows && i < wq.cols ? wq(o, i) : 0;
}

constexpr int kTile = 32;

// Blocks of kTile threads by any number. A tile's rows end in a word that nobody reads: down a column, every thread of
// a warp has a bank of its own.
__global__ void transpose_kernel2(Matrix<int8_t> out, Matrix<const int8_t> wq) {
    __shared__ int8_t tile[kTile][kTile + 4];  // [o][i]
    const int64_t i0 = int64_t{blockIdx.x} * kTile, o0 = int64_t{blockIdx.y} * kTile;
    const int lane = static_cast<int>(threadIdx.x);
    for (int row = static_cast<int>(threadIdx.y); row < kTile; row += static_cast<int>(blockDim.y)) {
        const int64_t o = o0 + row, i = i0 + lane;
        tile[row][lane] = o < wq.rows && i < wq.cols ? wq(o, i) : 0;
    }
    __syncthreads();
    for (int row = static_cast<int>(threadIdx.y); row < kTile; row += static_cast<int>(blockDim.y)) {
        const int64_t i = i0 + row, o = o0 + lane;
        if (i < out.rows && o < out.cols) out(i, o) = tile[lane][row];
    }
}

constexpr int64_t kPadding = 16;

int64_t padded(int64_t extent) {
    return cuda::round_up(extent, kPadding);
}

void transpose(const Bench<float>& bench, const Shape& shape) {
    const auto& device = bench.device;
    const int64_t outputs = shape[0], inputs = shape[1];
    const Tensor<int8_t> wq(outputs, inputs, 1), out(padded(inputs), padded(outputs));
    HostMatrix<int8_t> expected(out.rows(), out.cols());
    const auto tiles = [](int64_t extent) { return static_cast<unsigned>(cuda::ceil_div(extent, kTile)); };
    bench.run({
        .name = "transpose_int8",
        .type = "int8",
        .shape = shape,
        .work = moved(wq.bytes() + out.bytes()),
        // llmc/cpu needs no transpose: this is the definition.
        .reference =
            [&] {
                const auto host = wq.host<int8_t>();
                for (int64_t o = 0; o < outputs; o++)
                    for (int64_t i = 0; i < inputs; i++) expected(i, o) = host(o, i);
            },
        .outputs = {written("out", out, expected, {})},
        .versions = {{1,
                      "a thread a byte",
                      {256, 32, 64, 128, 512, 1024},
                      [&](int block) {
                          cuda::launch(device, "transpose_kernel1", transpose_kernel1,
                                       blocks(out.rows() * out.cols(), block), block, 0, out, wq);
                      }},
                     {2,
                      "a tile of bytes in shared memory",
                      {256, 32, 128, 512, 1024},
                      [&](int block) {
                          cuda::launch(device, "transpose_kernel2", transpose_kernel2,
                                       dim3(tiles(out.rows()), tiles(out.cols())),
                                       dim3(kTile, static_cast<unsigned>(block / kTile)), 0, out, wq);
                      }},
                     {3, "llmc: 4 x 4 bytes in words", {}, [&](int) { cuda::transpose_int8(device, out, wq); }}},
    });
}

const Program kProgram{
    .operators = "transpose_int8",
    .dimensions = "outputs x inputs",
    .odd = {{5, 64}, {61, 3}, {130, 129}, {1, 1}, {1, 831}, {257, 16}},
    .timed = {{3072, 8192}, {16384, 3072}},
};

}  // namespace

int main(int argc, char** argv) {
    return run(argc, argv, kProgram, [](const Bench<float>& bench, const Shape& shape) { transpose(bench, shape); });
}
