// Rotary position embedding in place, from a thread a head to the kernel that the program runs.
//
//   a[i]        <- a[i] cos[p,i] - a[i+half] sin[p,i]          half = rotary_dim/2, p = table_rows[n]
//   a[i+half]   <- a[i+half] cos[p,i] + a[i] sin[p,i]
//
// n: tokens; a: one of the token's heads, whose channels from rotary_dim on stay as they are. backward turns the other
// way, by -sin: the versions are the same.
//
//   kernel 1   a thread a head: neighbours of a warp are a head apart
//   kernel 2   a thread a pair: neighbours read neighbours, two bytes each
//   kernel 3   llmc/cuda/rope.cuh: a thread eight pairs, 16 bytes a load
//
// Bytes: the turned channels, read and written, and the rows of the tables that the positions name.
#include "dev/cuda/common.cuh"
#include "llmc/cpu/rope.h"
#include "llmc/cuda/rope.cuh"

namespace {

using namespace benchmark;
using cuda::from_float, cuda::to_float;

template <class T>
__device__ void turn_pair(T& first, T& second, float cos, float sin) {
    const float x = to_float(first), y = to_float(second);
    first = from_float<T>(x * cos - y * sin);
    second = from_float<T>(y * cos + x * sin);
}

template <class T>
__global__ void rope_kernel1(Matrix<T> heads, Matrix<const float> cos, Matrix<const float> sin,
                             const int32_t* table_rows, int head_dim, float direction) {
    const int64_t index = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;  // heads of all tokens, one after the other
    const int64_t n_heads = heads.cols / head_dim, n = index / n_heads;
    if (n >= heads.rows) return;
    T* head = heads.row(n) + index % n_heads * head_dim;
    const int32_t p = table_rows[n];
    for (int64_t i = 0; i < cos.cols; i++) turn_pair(head[i], head[i + cos.cols], cos(p, i), direction * sin(p, i));
}

template <class T>
__global__ void rope_kernel2(Matrix<T> heads, Matrix<const float> cos, Matrix<const float> sin,
                             const int32_t* table_rows, int head_dim, float direction) {
    const int64_t index = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    const int64_t half = cos.cols, n_heads = heads.cols / head_dim;
    const int64_t i = index % half, n = index / half / n_heads;
    if (n >= heads.rows) return;
    T* head = heads.row(n) + index / half % n_heads * head_dim;
    const int32_t p = table_rows[n];
    turn_pair(head[i], head[i + half], cos(p, i), direction * sin(p, i));
}

template <class T>
void turn(const Bench<T>& bench, const Shape& shape, bool forward) {
    const auto& device = bench.device;
    const int64_t n = shape[0], n_heads = shape[1], half = shape[3] / 2;
    const int head_dim = static_cast<int>(shape[2]);
    // Packed sequences of up to 2,048 tokens.
    const int64_t positions = std::min<int64_t>(n + 3, 2048);
    std::vector<float> cosines, sines;
    for (int64_t p = 0; p < positions; p++) {
        for (int64_t i = 0; i < half; i++) {
            const double angle = static_cast<double>(p) * std::pow(1e4, -static_cast<double>(i) / half);
            cosines.push_back(static_cast<float>(std::cos(angle)));
            sines.push_back(static_cast<float>(std::sin(angle)));
        }
    }
    const Tensor<float> cos_table(cosines), sin_table(sines);
    const Matrix<const float> cos(cos_table.data(), positions, half), sin(sin_table.data(), positions, half);
    std::vector<int32_t> rows;
    for (int64_t i = 0; i < n; i++) rows.push_back(static_cast<int32_t>((i + 3) % positions));
    const Tensor<int32_t> table_rows(rows);
    const Tensor<T> before(n, n_heads * head_dim, 3), heads(n, n_heads * head_dim, 3);
    HostMatrix<double> expected(0, 0);
    const float direction = forward ? 1.0f : -1.0f;

    bench.run({
        .name = forward ? "rope_forward" : "rope_backward",
        .shape = shape,
        .work = moved(4 * n * n_heads * half * static_cast<int64_t>(sizeof(T)) + 2 * cos_table.bytes()),
        .reference =
            [&] {
                expected = before.template host<double>();
                const auto call = forward ? cpu::rope_forward<double> : cpu::rope_backward<double>;
                call({}, expected, {cosines.data(), positions, half}, {sines.data(), positions, half}, rows, head_dim);
            },
        // Two products of up to 1 and their difference, an fp32 rounding each.
        .outputs = {updated("heads", heads, before, expected, rounded_to<T>({0, 2e-7}))},
        .versions = {{1,
                      "a thread a head",
                      {128, 32, 64, 256},
                      [&](int block) {
                          cuda::launch(device, "rope_kernel1", rope_kernel1<T>, blocks(n * n_heads, block), block, 0,
                                       heads, cos, sin, table_rows.data(), head_dim, direction);
                      }},
                     {2,
                      "a thread a pair",
                      {256, 32, 64, 128, 512, 1024},
                      [&](int block) {
                          cuda::launch(device, "rope_kernel2", rope_kernel2<T>, blocks(n * n_heads * half, block),
                                       block, 0, heads, cos, sin, table_rows.data(), head_dim, direction);
                      }},
                     {3,
                      "llmc: eight pairs, 16-byte loads",
                      {},
                      [&](int) {
                          const auto call = forward ? cuda::rope_forward<T> : cuda::rope_backward<T>;
                          call(device, heads, cos, sin, table_rows.span(), head_dim);
                      }}},
    });
}

const Program kProgram{
    .operators = "rope_forward, rope_backward",
    .dimensions = "tokens x heads x head_dim x rotary_dim",
    .odd = {{5, 3, 64, 64}, {7, 1, 10, 6}, {3, 2, 61, 34}, {1, 5, 130, 128}, {67, 1, 2, 2}},
    .timed = {{8192, 64, 96, 96}, {8192, 40, 128, 128}},
};

}  // namespace

int main(int argc, char** argv) {
    return run(argc, argv, kProgram, []<class T>(const Bench<T>& bench, const Shape& shape) {
        turn(bench, shape, true);
        turn(bench, shape, false);
    });
}
