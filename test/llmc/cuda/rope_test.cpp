#include "llmc/cuda/rope.cuh"

#include "llmc/cpu/rope.h"
#include "test/llmc/cuda/device_matrix.h"

using namespace cuda_test;

namespace {

const cpu::Device kCpu{2};

struct Heads {
    int n_heads, head_dim, rotary_dim;
    int64_t padding;
};

}  // namespace

TEMPLATE_TEST_CASE("rope on the GPU is the CPU's, there and back", "[cuda][rope]", float, bf16, fp16) {
    using T = TestType;
    const cuda::Device<T> device;
    const Heads shape =
        GENERATE(Heads{3, 64, 64, 0}, Heads{2, 96, 96, 8}, Heads{3, 24, 24, 0}, Heads{2, 80, 20, 3}, Heads{1, 2, 2, 0});
    const int64_t rows = 13, half = shape.rotary_dim / 2;
    const auto heads = rounded<T>(random_buffer<float>(rows, shape.n_heads * shape.head_dim, 1));
    Buffer<float> cos(40, half), sin(40, half);
    for (int64_t p = 0; p < 40; p++) {
        for (int64_t i = 0; i < half; i++) {
            cos(p, i) = std::cos(static_cast<float>(p) / static_cast<float>(i + 1));
            sin(p, i) = std::sin(static_cast<float>(p) / static_cast<float>(i + 1));
        }
    }
    std::vector<int32_t> table_rows(rows);
    for (int64_t n = 0; n < rows; n++) table_rows[n] = static_cast<int32_t>((n * 17) % 40);
    const bool back = GENERATE(false, true);

    const auto gpu = same_in_every_schedule([&] {
        const DeviceMatrix<T> in_place(heads, shape.padding);
        const DeviceMatrix<float> device_cos(cos), device_sin(sin);
        const DeviceVector<int32_t> device_rows(table_rows);
        const auto turn = back ? cuda::rope_backward<T> : cuda::rope_forward<T>;
        turn(device, in_place.view(), device_cos.view(), device_sin.view(), device_rows.span(), shape.head_dim);
        return in_place.download();
    });
    auto expected = in_double(heads);
    const auto turn = back ? cpu::rope_backward<double> : cpu::rope_forward<double>;
    turn(kCpu, expected.view(), cos.view(), sin.view(), table_rows, shape.head_dim);
    // Two products of up to 4 and their sum, in fp32, then one rounding to T.
    CHECK(excess(gpu, expected, unit_roundoff<T>() + 0x1p-23, 1e-6) <= 1);
}
