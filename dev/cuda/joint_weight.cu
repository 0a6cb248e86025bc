// The one weight that adds both of a quantised layer's corrections (quaff/model/lora.h), from a kernel for each part to
// the one that the program runs.
//
//   Wz = [ scale B | (s - 1) Wo ]           [O, R + n], B block-diagonal over three adapters, zero elsewhere
//
// O: outputs of a joint linear; R: the sum of the adapters' ranks; n: outlier channels. B and s are fp32. `Wz` is
// written (=).
//
//   kernel 1   zeros; then each adapter's B over them, and the outlier columns: five kernels, and B's are written twice
//   kernel 2   quaff/model/cuda/lora.cuh: one kernel, a thread an element, which finds out what it belongs to
//
// Bytes: B and Wo read, Wz written.
#include "dev/cuda/common.cuh"
#include "llmc/cuda/rows.cuh"
#include "quaff/model/cuda/lora.cuh"

namespace {

using namespace benchmark;
using cuda::from_float, cuda::to_float;

constexpr float kScale = 2;
constexpr int64_t kAdapters = 3;

template <class T>
__global__ void scale_adapter_kernel1(Matrix<T> block, Matrix<const float> b, float scale) {
    const int64_t index = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    const int64_t o = index / b.cols, k = index % b.cols;
    if (o < b.rows) block(o, k) = from_float<T>(scale * b(o, k));
}

template <class T>
__global__ void scale_outliers_kernel1(Matrix<T> columns, Matrix<const T> outlier_weight, const float* s) {
    const int64_t index = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    const int64_t o = index / columns.cols, j = index % columns.cols;
    if (o < columns.rows) columns(o, j) = from_float<T>((s[j] - 1) * to_float(outlier_weight(o, j)));
}

template <class T>
void joint_weight(const Bench<T>& bench, const Shape& shape) {
    const auto& device = bench.device;
    const int64_t outputs = shape[0], rank = shape[1], count = shape[2], total_rank = kAdapters * rank;
    const Tensor<T> outlier_weight(outputs, count, 1), wz(outputs, total_rank + count);
    const Tensor<float> s(1, count, 2, 4), b(outputs, rank, 3);  // the adapters' B, one under the other
    HostMatrix<float> host_b(0, 0), expected(outputs, total_rank + count);

    // The outputs shared out as in q, k and v: a half, a quarter, and the rest.
    const auto adapters_of = [&](const Matrix<float>& stacked) {
        std::vector<quaff::LoraAdapter> adapters;
        for (int64_t p = 0, begin = 0; p < kAdapters; p++) {
            const int64_t rows = p == kAdapters - 1 ? outputs - begin : outputs >> (p + 1);
            quaff::LoraAdapter& adapter = adapters.emplace_back();
            adapter.out_begin = begin;
            adapter.scaling = kScale;
            adapter.b = stacked.rows_at(begin, rows);
            begin += rows;
        }
        return adapters;
    };
    const auto adapters = adapters_of(b);
    bench.run({
        .name = "joint_weight",
        .shape = shape,
        .work = moved(b.bytes() + outlier_weight.bytes() + wz.bytes()),
        .reference =
            [&] {
                host_b = b.host<float>();
                cpu::joint_weight({}, expected, adapters_of(host_b), outlier_weight.template host<float>(),
                                  s.host<float>().data());
            },
        // The same product in fp32; s - 1 may have been fused into it.
        .outputs = {written("Wz", wz, expected, rounded_to<T>({1e-7, 1e-7}))},
        .versions = {{1,
                      "a kernel for each part",
                      {256, 32, 64, 128, 512, 1024},
                      [&](int block) {
                          cuda::set_zero(device, wz.view());
                          for (int64_t p = 0; p < kAdapters; p++) {
                              const quaff::LoraAdapter& adapter = adapters[static_cast<size_t>(p)];
                              const auto rows = wz.view().rows_at(adapter.out_begin, adapter.b.rows);
                              cuda::launch(device, "scale_adapter_kernel1", scale_adapter_kernel1<T>,
                                           blocks(adapter.b.size(), block), block, 0, rows.columns(p * rank, rank),
                                           adapter.b, kScale);
                          }
                          cuda::launch(device, "scale_outliers_kernel1", scale_outliers_kernel1<T>,
                                       blocks(outlier_weight.rows() * count, block), block, 0,
                                       wz.view().columns(total_rank, count), outlier_weight, s.data());
                      }},
                     {2,
                      "quaff: one kernel",
                      {},
                      [&](int) { cuda::joint_weight<T>(device, wz, adapters, outlier_weight, s.data()); }}},
    });
}

const Program kProgram{
    .operators = "joint_weight",
    .dimensions = "outputs x rank x outlier channels",
    .odd = {{7, 16, 5}, {96, 3, 1}, {1, 1, 33}, {130, 5, 7}},
    .timed = {{9216, 16, 62}, {16384, 64, 62}},
};

}  // namespace

int main(int argc, char** argv) {
    return run(argc, argv, kProgram,
               []<class T>(const Bench<T>& bench, const Shape& shape) { joint_weight(bench, shape); });
}
