#include "llmc/cuda/gemm/nf4_gemm.cuh"

#include "llmc/cpu/gemm/gemm.h"
#include "test/llmc/cpu/nf4.h"
#include "test/llmc/cuda/device_matrix.h"

using namespace cuda_test;

TEMPLATE_TEST_CASE("NF4 weights are dequantised to what they stand for", "[cuda][nf4]", float, bf16, fp16) {
    using T = TestType;
    const cuda::Device<T> device;
    const auto [out, in] = GENERATE(table<int, int>({{3, 64}, {5, 70}, {4, 7}, {70, 520}, {1, 1}}));
    const llmc_test::Nf4Weights weights(random_buffer<float>(out, in, 1));
    const int64_t bytes = llmc::nf4_bytes(in);
    const DeviceVector<uint8_t> maxima(weights.maxima);
    const DeviceVector<float> group_factor(weights.group_factor);
    std::vector<uint8_t> codes(static_cast<size_t>(out * bytes));
    for (int64_t o = 0; o < out; o++)
        for (int64_t i = 0; i < bytes; i++) codes[static_cast<size_t>(o * bytes + i)] = weights.codes(o, i);
    const DeviceVector<uint8_t> device_codes(codes);
    const llmc::Nf4Matrix stored{Matrix<const uint8_t>(device_codes.data(), out, bytes), in, maxima.data(),
                                 group_factor.data(), weights.mean};
    const int64_t stride = cuda::nf4_stride(in);
    const auto dense = same_in_every_schedule([&] {
        const DeviceVector<T> workspace(cuda::nf4_gemm_workspace(device, out, in));
        const Matrix<const T> w = cuda::dequantize_nf4(device, stored, workspace.span());
        CHECK(w.stride == stride);
        const std::vector<T> all = workspace.download();
        Buffer<float> values(out, in);
        for (int64_t o = 0; o < out; o++)
            for (int64_t i = 0; i < in; i++) values(o, i) = widen(all[static_cast<size_t>(o * stride + i)]);
        return values;
    });
    CHECK(dense == rounded<T>(weights.dequantized()));
}
