// Rows picked from, and put back into, a longer matrix.
//
//   gather_rows         out[i,:] = x[rows[i],:]                           the labelled positions, for the head
//   embedding_forward   out[n,:] = table[ids[n],:]                        the same of a table, in any order
//   scatter_rows        out[rows[i],:] = x[i,:], every other row 0        the gradient on its way back
//
// `rows` ascending and distinct. All outputs are written (=).
//
//   gather_rows,         kernel 1   a thread a row: neighbours of a warp are a row apart
//   embedding_forward    kernel 2   a thread an element: neighbours read neighbours, two bytes each
//                        kernel 3   llmc/cuda/gather.cuh: a thread eight neighbours, 16 bytes a load
//   scatter_rows         kernel 1   zeros everywhere, then the named rows over them: those are written twice
//                        kernel 2   a block a row of out, which searches `rows` from the front
//                        kernel 3   llmc/cuda/gather.cuh: by binary search, with stores of 16 bytes
//
// Bytes: gather and embedding, the picked rows, read and written; scatter, x read and out written.
#include "dev/cuda/common.cuh"
#include "llmc/cpu/embedding.h"
#include "llmc/cpu/gather.h"
#include "llmc/cuda/embedding.cuh"
#include "llmc/cuda/rows.cuh"

namespace {

using namespace benchmark;

template <class T>
__global__ void gather_rows_kernel1(Matrix<T> out, Matrix<const T> x, const int32_t* rows) {
    const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    if (i >= out.rows) return;
    for (int64_t c = 0; c < out.cols; c++) out(i, c) = x(rows[i], c);
}

template <class T>
__global__ void gather_rows_kernel2(Matrix<T> out, Matrix<const T> x, const int32_t* rows) {
    const int64_t index = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    const int64_t i = index / out.cols, c = index % out.cols;
    if (i < out.rows) out(i, c) = x(rows[i], c);
}

// out has been set to 0.
template <class T>
__global__ void scatter_rows_kernel1(Matrix<T> out, Matrix<const T> x, const int32_t* rows) {
    const int64_t index = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    const int64_t i = index / x.cols, c = index % x.cols;
    if (i < x.rows) out(rows[i], c) = x(i, c);
}

template <class T>
__global__ void scatter_rows_kernel2(Matrix<T> out, Matrix<const T> x, const int32_t* rows) {
    const int64_t n = blockIdx.x;
    int64_t i = 0;
    while (i < x.rows && rows[i] < n) i++;
    const bool named = i < x.rows && rows[i] == n;
    for (int64_t c = threadIdx.x; c < out.cols; c += blockDim.x)
        out(n, c) = named ? x(i, c) : cuda::from_float<T>(0.0f);
}

// `count` of `n` rows, ascending and distinct.
std::vector<int32_t> ascending_rows(int64_t count, int64_t n) {
    std::vector<int32_t> rows;
    for (int64_t i = 0; i < count; i++) rows.push_back(static_cast<int32_t>(((i + 1) * n - 1) / count));
    return rows;
}

// In any order, some of them more than once.
std::vector<int32_t> scattered_rows(int64_t count, int64_t n) {
    std::vector<int32_t> rows;
    for (int64_t i = 0; i < count; i++)
        rows.push_back(static_cast<int32_t>(philox4x32_10({static_cast<uint32_t>(i), 0, 0, 0}, {6, 0}).x0 % n));
    return rows;
}

template <class T>
void gather(const Bench<T>& bench, const Shape& shape, bool embedding) {
    const auto& device = bench.device;
    const int64_t n = shape[0], channels = shape[1], count = shape[2];
    const auto picked = embedding ? scattered_rows(count, n) : ascending_rows(count, n);
    const Tensor<int32_t> rows(picked);
    const Tensor<T> x(n, channels, 1), out(count, channels);
    HostMatrix<float> expected(count, channels);
    bench.run({
        .name = embedding ? "embedding_forward" : "gather_rows",
        .shape = shape,
        .work = moved(2 * out.bytes()),
        .reference =
            [&] {
                const auto call = embedding ? cpu::embedding_forward<float> : cpu::gather_rows<float>;
                call({}, expected, x.template host<float>(), picked);
            },
        .outputs = {written("out", out, expected, {})},
        .versions = {{1,
                      "a thread a row",
                      {128, 32, 64, 256},
                      [&](int block) {
                          cuda::launch(device, "gather_rows_kernel1", gather_rows_kernel1<T>, blocks(count, block),
                                       block, 0, out, x, rows.data());
                      }},
                     {2,
                      "a thread an element",
                      {256, 32, 64, 128, 512, 1024},
                      [&](int block) {
                          cuda::launch(device, "gather_rows_kernel2", gather_rows_kernel2<T>,
                                       blocks(count * channels, block), block, 0, out, x, rows.data());
                      }},
                     {3,
                      "llmc: 16-byte loads",
                      {},
                      [&](int) {
                          if (embedding)
                              cuda::embedding_forward<T>(device, out, x, rows.span());
                          else
                              cuda::gather_rows<T>(device, out, x, rows.span());
                      }}},
    });
}

template <class T>
void scatter(const Bench<T>& bench, const Shape& shape) {
    const auto& device = bench.device;
    const int64_t n = shape[0], channels = shape[1], count = shape[2];
    const auto picked = ascending_rows(count, n);
    const Tensor<int32_t> rows(picked);
    const Tensor<T> x(count, channels, 1), out(n, channels);
    HostMatrix<float> expected(n, channels);
    bench.run({
        .name = "scatter_rows",
        .shape = shape,
        .work = moved(x.bytes() + out.bytes()),
        .reference = [&] { cpu::scatter_rows<float>({}, expected, x.template host<float>(), picked); },
        .outputs = {written("out", out, expected, {})},
        .versions = {{1,
                      "zeros, then the rows",
                      {256, 32, 64, 128, 512, 1024},
                      [&](int block) {
                          cuda::set_zero(device, out.view());
                          cuda::launch(device, "scatter_rows_kernel1", scatter_rows_kernel1<T>,
                                       blocks(count * channels, block), block, 0, out, x, rows.data());
                      }},
                     {2,
                      "a block a row looks from the front",
                      {256, 32, 64, 128, 512, 1024},
                      [&](int block) {
                          cuda::launch(device, "scatter_rows_kernel2", scatter_rows_kernel2<T>, cuda::row_blocks(n),
                                       block, 0, out, x, rows.data());
                      }},
                     {3,
                      "llmc: by halving, 16-byte stores",
                      {},
                      [&](int) { cuda::scatter_rows<T>(device, out, x, rows.span()); }}},
    });
}

const Program kProgram{
    .operators = "gather_rows, embedding_forward, scatter_rows",
    .dimensions = "rows x channels x picked rows",
    .odd = {{13, 64, 5}, {7, 61, 7}, {300, 3, 67}, {3, 1000, 1}, {1, 8301, 1}},
    .timed = {{8192, 3072, 2048}, {32064, 3072, 8192}},
};

}  // namespace

int main(int argc, char** argv) {
    return run(argc, argv, kProgram, []<class T>(const Bench<T>& bench, const Shape& shape) {
        gather(bench, shape, false);
        gather(bench, shape, true);
        scatter(bench, shape);
    });
}
