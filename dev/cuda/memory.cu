// The kernels that memory decides: bytes a second, next to a plain copy of the same GPU.
//
//   make benchmarks && build/dev/cuda/memory [tokens]
//
// The shapes are Phi-3-mini's. Bytes count what has to cross memory once: each input read, each output written, the
// weights of a norm not. A kernel near 100% of the copy leaves nothing to gain but by being fused away;
// outlier_absmax reads scattered channels, for each of which memory delivers 32 bytes. Outputs may in part stay in L2,
// the copy's too: with the usual 8,192 tokens they are as large as the largest L2. Whether the kernels are right is for
// test/llmc/cuda.
#include "dev/cuda/benchmark.cuh"
#include "llmc/cuda/operators.cuh"

namespace {

using namespace llmc;
using benchmark::Tensor;

constexpr int64_t kHidden = 3072, kIntermediate = 8192, kHeadDim = 96, kVocabulary = 32064;
constexpr int64_t kOutliers = 61, kAdapterParameters = 25'000'000, kLogitRows = 1024;

template <class T>
void measure(int64_t tokens) {
    const cuda::Device<T> device;
    benchmark::Clock clock(device.l2_bytes);
    const int64_t rows = cuda::padded_tokens(device, tokens);
    std::printf("%s, %lld tokens, %s\n", device.describe().c_str(), static_cast<long long>(tokens),
                device.compute_name);
    std::printf("%-32s %10s %12s %10s %9s\n", "kernel", "MB", "microseconds", "GB/s", "of copy");

    double copy_speed = 0;
    const auto tell = [&](const char* name, int64_t bytes, const auto& call) {
        const double seconds = clock.seconds(call), speed = static_cast<double>(bytes) / seconds;
        if (copy_speed == 0) copy_speed = speed;
        std::printf("%-32s %10.1f %12.1f %10.1f %8.1f%%\n", name, 1e-6 * static_cast<double>(bytes), 1e6 * seconds,
                    1e-9 * speed, 100 * speed / copy_speed);
    };

    const Tensor<T> a(rows, kHidden), b(rows, kHidden), c(rows, kHidden), d(rows, kHidden), weight(1, kHidden);
    const Tensor<T> gate_up(rows, 2 * kIntermediate), activated(rows, kIntermediate);
    const Tensor<int8_t> q(rows, kIntermediate), w(kIntermediate, kHidden), turned(kHidden, kIntermediate);
    const Tensor<int32_t> sums(rows, kHidden);
    const Tensor<float> rstd(1, rows), row_scale(1, rows), col_scale(1, 2 * kIntermediate), s(1, kOutliers);
    const Tensor<float> xmax(1, kOutliers);
    const Tensor<T> outliers(rows, kOutliers);
    std::vector<int32_t> numbers;
    for (int32_t j = 0; j < kOutliers; j++) numbers.push_back(j * 50);
    const auto channel_array = benchmark::upload(numbers);
    const std::span<const int32_t> channels(channel_array.get(), numbers.size());
    const auto q_hidden = Matrix<int8_t>(q.data(), rows, kHidden);
    const int64_t row_bytes = a.bytes(), q_bytes = q_hidden.size(), gathered = outliers.bytes();

    tell("copy", 2 * row_bytes, [&] { cuda::copy<T>(device, a.view(), b.view()); });
    tell("rmsnorm_forward", 4 * row_bytes, [&] {
        cuda::rmsnorm_forward<T>(device, a.view(), b.view(), rstd.data(), c.view(), d.view(), weight.data(), 1e-5f);
    });
    tell("rmsnorm_forward_absmax", 4 * row_bytes, [&] {
        cuda::rmsnorm_forward_absmax<T>(device, a.view(), b.view(), rstd.data(), xmax.data(), c.view(), d.view(),
                                        weight.data(), 1e-5f, channels);
    });
    tell("rmsnorm_forward_quantize", 4 * row_bytes + q_bytes + gathered, [&] {
        cuda::rmsnorm_forward_quantize<T>(device, a.view(), b.view(), rstd.data(), q_hidden, row_scale.data(),
                                          outliers.view(), c.view(), d.view(), weight.data(), 1e-5f, channels,
                                          s.data());
    });
    tell("rmsnorm_apply", 2 * row_bytes,
         [&] { cuda::rmsnorm_apply<T>(device, a.view(), b.view(), rstd.data(), weight.data()); });
    tell("rmsnorm_backward", 4 * row_bytes,
         [&] { cuda::rmsnorm_backward<T>(device, a.view(), b.view(), c.view(), rstd.data(), weight.data()); });
    tell("outlier_absmax", gathered, [&] { cuda::outlier_absmax<T>(device, xmax.data(), a.view(), channels); });
    tell("quantize_rows", row_bytes + q_bytes + gathered, [&] {
        cuda::quantize_rows<T>(device, q_hidden, row_scale.data(), outliers.view(), a.view(), channels, s.data());
    });
    tell("quantize_gradient_rows", row_bytes + q_bytes,
         [&] { cuda::quantize_gradient_rows<T>(device, q_hidden, row_scale.data(), a.view(), col_scale.data()); });
    tell("dequantize_rows", sums.bytes() + row_bytes,
         [&] { cuda::dequantize_rows<T>(device, a.view(), sums.view(), row_scale.data(), col_scale.data(), nullptr); });
    tell("transpose_int8", 2 * w.bytes(), [&] { cuda::transpose_int8(device, turned.view(), w.view()); });
    tell("swiglu_forward", gate_up.bytes() + activated.bytes(),
         [&] { cuda::swiglu_forward<T>(device, activated.view(), gate_up.view()); });
    tell("swiglu_forward_quantize", gate_up.bytes() + activated.bytes() + q.bytes() + gathered, [&] {
        cuda::swiglu_forward_quantize<T>(device, activated.view(), q.view(), row_scale.data(), outliers.view(),
                                         gate_up.view(), channels, s.data());
    });
    tell("swiglu_backward", 2 * gate_up.bytes() + activated.bytes(),
         [&] { cuda::swiglu_backward<T>(device, gate_up.view(), activated.view(), gate_up.view()); });
    tell("dropout_forward", 2 * row_bytes, [&] {
        cuda::dropout_forward<T>(device, a.view(), b.view(), 0.1f, {1, 2, 3});
    });

    const Tensor<float> angles(rows, kHeadDim / 2);
    std::vector<int32_t> positions;
    for (int64_t n = 0; n < rows; n++) positions.push_back(static_cast<int32_t>(n));
    const auto table_rows = benchmark::upload(positions);
    tell("rope_forward", 2 * row_bytes, [&] {
        cuda::rope_forward<T>(device, a.view(), angles.view(), angles.view(), {table_rows.get(), positions.size()},
                              kHeadDim);
    });

    const Tensor<T> logits(kLogitRows, kVocabulary);
    const Tensor<float> losses(1, kLogitRows);
    const Tensor<uint8_t> correct(1, kLogitRows);
    const auto labels = benchmark::upload(std::vector<int32_t>(kLogitRows, 7));
    tell("cross_entropy_forward_backward", 2 * logits.bytes(), [&] {
        cuda::cross_entropy_forward_backward<T>(device, losses.data(), correct.data(), logits.view(),
                                                {labels.get(), kLogitRows}, 1.0f);
    });

    const int64_t parameters = std::min(kAdapterParameters, tokens * kHidden);
    const Tensor<float> state(4, parameters);
    const auto part = [&](int64_t k) { return std::span<float>(state.view().row(k), static_cast<size_t>(parameters)); };
    tell("adamw_step", 7 * parameters * static_cast<int64_t>(sizeof(float)),
         [&] { cuda::adamw_step<float>(device, part(0), part(1), part(2), part(3), AdamWOptions{}, 1, 1.0f); });
}

}  // namespace

int main(int argc, char** argv) {
    return benchmark::run_in_16_bits(argc, argv, []<class T>(int64_t tokens) { measure<T>(tokens); });
}
