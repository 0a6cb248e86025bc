// What LoRA adapters compute at the input of their linear, without and with dropout before A.
//
//   lora_down      z[n,r]   = sum_i D(x)[n,i] a[r,i]                      forward
//   lora_down_dx   dx[n,i] += mask[n,i] / (1-p) sum_r dz[n,r] a[r,i]      gradient of the input
//   lora_down_da   da[r,i] += sum_n dz[n,r] D(x)[n,i]                     gradient of A
//
// n: tokens; i: features; r: ranks of the layer's adapters, one after the other. D(x) = mask x / (1-p), rounded to T,
// and x itself with p = 0; those with p = 0.1 are called ..._dropout.
//
//   kernel 1   a thread an element of the result, which draws the mask for each of its terms
//   kernel 2   llmc/core/lora_down.h: dropout and cuBLASLt, with D(x), and dz a, in memory between them; the program
//              runs it without dropout
//   kernel 3   llmc/cuda/gemm/lora_down/lora_down.cuh: tensor cores, fed straight from memory. The large matrix is read
//   once, and
//              the mask is drawn for what a lane has just loaded
//
// The rate counts the bytes of the operands, read once, and of the result, for all versions.
#include "dev/cuda/common.cuh"
#include "llmc/cpu/gemm/lora_down.h"
#include "llmc/cuda/gemm/lora_down/lora_down.cuh"

namespace {

using namespace benchmark;
using cuda::from_float, cuda::to_float, cuda::kWarpSize;

constexpr float kProbability = 0.1f;
constexpr DropoutStream kStream{.seed = 42, .micro_batch = 7, .layer_id = 3};

// mask / (1-p) of one element.
__device__ float factor_of(const Dropout& dropout, int64_t n, int64_t i) {
    const cuda::DropoutEight mask(dropout.stream, n, i / 8 * 8, dropout.p);
    return dropout.p == 0 || mask.keeps(static_cast<int>(i % 8)) ? dropout_keep_factor(dropout.p) : 0.0f;
}

template <class T>
__device__ float dropped_element(const Matrix<const T>& x, const Dropout& dropout, int64_t n, int64_t i) {
    return to_float(from_float<T>(to_float(x(n, i)) * factor_of(dropout, n, i)));
}

template <class T>
__global__ void lora_down_kernel1(Matrix<T> z, Matrix<const T> x, Matrix<const T> a, Dropout dropout) {
    const int64_t index = int64_t{blockIdx.x} * blockDim.x + threadIdx.x, n = index / z.cols, r = index % z.cols;
    if (n >= z.rows) return;
    float sum = 0;
    for (int64_t i = 0; i < x.cols; i++) sum += dropped_element(x, dropout, n, i) * to_float(a(r, i));
    z(n, r) = from_float<T>(sum);
}

template <class T>
__global__ void lora_down_dx_kernel1(Matrix<T> dx, Matrix<const T> dz, Matrix<const T> a, Dropout dropout) {
    const int64_t index = int64_t{blockIdx.x} * blockDim.x + threadIdx.x, n = index / dx.cols, i = index % dx.cols;
    if (n >= dx.rows) return;
    float sum = 0;
    for (int64_t r = 0; r < dz.cols; r++) sum += to_float(dz(n, r)) * to_float(a(r, i));
    dx(n, i) = from_float<T>(fmaf(sum, factor_of(dropout, n, i), to_float(dx(n, i))));
}

template <class T>
__global__ void lora_down_da_kernel1(Matrix<float> da, Matrix<const T> dz, Matrix<const T> x, Dropout dropout) {
    const int64_t index = int64_t{blockIdx.x} * blockDim.x + threadIdx.x, r = index / da.cols, i = index % da.cols;
    if (r >= da.rows) return;
    float sum = 0;
    for (int64_t n = 0; n < x.rows; n++) sum += to_float(dz(n, r)) * dropped_element(x, dropout, n, i);
    da(r, i) += sum;
}

void require_block(int block, int most) {
    require(block >= kWarpSize && block <= most && (block & (block - 1)) == 0,
            "kernel 3 has blocks of 2^k warps and of at most ", most, " threads, not of ", block);
}

template <class T>
void products(const Bench<T>& bench, const Shape& shape, const Dropout& dropout, std::array<const char*, 3> names) {
    const auto& device = bench.device;
    const int64_t n = shape[0], in = shape[1], rank = shape[2];
    const Tensor<T> x(n, in, 1), a(rank, in, 2), dz(n, rank, 3), dx_before(n, in, 4), dx(n, in), z(n, rank);
    const Tensor<float> da_before(rank, in, 5), da(rank, in);
    // Of the operators and of the kernels, which are timed without dropout, too, where the program has the operators.
    const Tensor<T> workspace(1, std::max<int64_t>({1, lora_down_workspace_of_operators(n, in, dropout.p),
                                                    cuda::lora_down_workspace(device, n, in, rank, kProbability)}));
    const bool drops = dropout.p > 0, fuses = cuda::lora_down_fuses<T>(x, a, kProbability);
    HostMatrix<double> expected_z(n, rank), expected_dx(n, in), expected_da(rank, in);

    const auto dropped_on_host = [&] {
        HostMatrix<double> dropped = x.template host<double>();
        if (dropout.p > 0)
            cpu::dropout_forward<double>({}, dropped, x.template host<double>(), dropout.p, dropout.stream);
        round_to<T>(dropped);
        return dropped;
    };
    std::vector<Version> down{{1,
                               "a thread an element",
                               {128, 256},
                               [&](int block) {
                                   cuda::launch(device, "lora_down_kernel1", lora_down_kernel1<T>,
                                                blocks(z.view().size(), block), block, 0, z, x, a, dropout);
                               }},
                              {2, drops ? "dropout, cuBLASLt" : "llmc: cuBLASLt", {}, [&](int) {
                                   lora_down_of_operators<T>(device, z, x, a, dropout, workspace.span());
                               }}};
    std::vector<Version> of_dx{{1,
                                "a thread an element",
                                {128, 256},
                                [&](int block) {
                                    cuda::launch(device, "lora_down_dx_kernel1", lora_down_dx_kernel1<T>,
                                                 blocks(dx.view().size(), block), block, 0, dx, dz, a, dropout);
                                }},
                               {2, drops ? "cuBLASLt, dropout" : "llmc: cuBLASLt", {}, [&](int) {
                                    lora_down_dx_of_operators<T>(device, dx, dz, a, dropout, workspace.span());
                                }}};
    std::vector<Version> of_da{{1,
                                "a thread an element",
                                {128, 256},
                                [&](int block) {
                                    cuda::launch(device, "lora_down_da_kernel1", lora_down_da_kernel1<T>,
                                                 blocks(da.view().size(), block), block, 0, da, dz, x, dropout);
                                }},
                               {2, drops ? "dropout, cuBLASLt" : "llmc: cuBLASLt", {}, [&](int) {
                                    lora_down_da_of_operators<T>(device, da.view(), dz, x, dropout, workspace.span());
                                }}};
    if constexpr (sizeof(T) == 2) {
        down.push_back({3,
                        drops ? "llmc: one kernel" : "one kernel",
                        {256, 64, 128},
                        [&](int block) {
                            require_block(block, cuda::kLoraDownThreads);
                            cuda::launch_lora_down<T>(device, block, z, x, a, dropout);
                        },
                        fuses});
        of_dx.push_back({3,
                         drops ? "llmc: one kernel" : "one kernel",
                         {128, 64},
                         [&](int block) {
                             require_block(block, cuda::kLoraDownDxThreads);
                             cuda::launch_lora_down_dx<T>(device, block, dx, dz, a, dropout);
                         },
                         fuses});
        of_da.push_back({3,
                         drops ? "llmc: one kernel and its sums" : "one kernel and its sums",
                         {},
                         [&](int) {
                             cuda::launch_lora_down_da<T>(device, da, dz, x, dropout,
                                                          reinterpret_cast<float*>(workspace.data()));
                         },
                         fuses});
    }

    bench.run(
        {.name = names[0],
         .shape = shape,
         .work = moved(x.bytes() + a.bytes() + z.bytes()),
         .reference = [&] { cpu::gemm_nt<double>({}, expected_z, dropped_on_host(), a.template host<double>(), 1, 0); },
         .outputs = {written("z", z, expected_z, sum_of<T>(in))},
         .versions = down});
    // The operators round dz a, of a size near sqrt(rank) / 3, to T before they mask it.
    const double rounded_before = 2 * std::sqrt(static_cast<double>(rank)) * unit_roundoff<T>();
    Tolerance for_dx = sum_of<T>(rank);
    for_dx.absolute += rounded_before;
    bench.run({.name = names[1],
               .shape = shape,
               .work = moved(2 * dx.bytes() + a.bytes() + dz.bytes()),
               .reference =
                   [&] {
                       HostMatrix<double> before_mask(n, in);
                       cpu::gemm_nn<double>({}, before_mask, dz.template host<double>(), a.template host<double>(), 1,
                                            0);
                       expected_dx = dx_before.template host<double>();
                       cpu::dropout_backward<double>({}, expected_dx, before_mask, dropout.p, dropout.stream);
                   },
               .outputs = {updated("dx", dx, dx_before, expected_dx, for_dx)},
               .versions = of_dx});
    bench.run({.name = names[2],
               .shape = shape,
               .work = moved(x.bytes() + dz.bytes() + 2 * da.bytes()),
               .reference =
                   [&] {
                       expected_da = da_before.template host<double>();
                       cpu::gemm_tn<double>({}, expected_da, dz.template host<double>(), dropped_on_host(), 1, 1);
                   },
               .outputs = {updated("da", da, da_before, expected_da, sum_of<float>(n))},
               .versions = of_da});
}

// Timed: the linears of Phi-3-mini that one, two and three adapters of r = 16 share, and r = 64; down_proj.
const Program kProgram{
    .operators = "lora_down, lora_down_dx, lora_down_da, and each with _dropout",
    .dimensions = "tokens x in x rank",
    .odd = {{3, 7, 2}, {33, 200, 12}, {70, 136, 37}, {1, 264, 24}, {131, 72, 64}, {260, 40, 48}, {19, 328, 80}},
    .timed = {{8192, 3072, 16}, {8192, 3072, 32}, {8192, 3072, 48}, {8192, 3072, 64}, {8192, 8192, 16}},
};

}  // namespace

int main(int argc, char** argv) {
    return run(argc, argv, kProgram, []<class T>(const Bench<T>& bench, const Shape& shape) {
        products(bench, shape, {0, kStream}, {"lora_down", "lora_down_dx", "lora_down_da"});
        products(bench, shape, {kProbability, kStream},
                 {"lora_down_dropout", "lora_down_dx_dropout", "lora_down_da_dropout"});
    });
}
