#include "quaff/model/cuda/lora.cuh"

#include "quaff/model/lora.h"
#include "test/llmc/cuda/device_matrix.h"

using namespace cuda_test;

namespace {

// Adapters on the first and the last of a joint layer's linears, of different rank and scaling.
std::vector<quaff::LoraAdapter> adapters_of(Matrix<float> first, Matrix<float> last) {
    std::vector<quaff::LoraAdapter> adapters(2);
    adapters[0].b = first;
    adapters[1].b = last;
    adapters[1].out_begin = 30;
    adapters[0].scaling = 0.75f;
    adapters[1].scaling = 1.5f;
    return adapters;
}

}  // namespace

TEMPLATE_TEST_CASE("the joint weight on the GPU is the CPU's", "[cuda][lora]", float, bf16, fp16) {
    using T = TestType;
    const cuda::Device<T> device;
    const int64_t n = GENERATE(0, 7), padding = GENERATE(0, 3);
    const bool adapted = GENERATE(true, false), scaled = GENERATE(true, false);
    auto first = random_buffer<float>(20, 4, 1), last = random_buffer<float>(15, 6, 2);
    const auto outlier_weight = rounded<T>(random_buffer<float>(45, n, 3));
    const auto s = random_vector<float>(n, 4);
    const int64_t rank = adapted ? 10 : 0;

    const auto gpu = same_in_every_schedule([&] {
        const DeviceMatrix<T> wz(45, rank + n, padding), wo(outlier_weight);
        const DeviceMatrix<float> device_first(first), device_last(last);
        const auto adapters = adapters_of(device_first.view(), device_last.view());
        const DeviceVector<float> device_s(s);
        cuda::joint_weight(device, wz.view(), adapted ? adapters : std::vector<quaff::LoraAdapter>{}, wo.view(),
                           scaled ? device_s.data() : nullptr);
        return wz.download();
    });
    Buffer<float> expected(45, rank + n);
    const auto adapters = adapters_of(first.view(), last.view());
    cpu::joint_weight({}, expected.view(), adapted ? adapters : std::vector<quaff::LoraAdapter>{},
                      outlier_weight.view(), scaled ? s.data() : nullptr);
    CHECK(gpu == rounded<T>(expected));
}

TEST_CASE("a joint layer of more adapters than the kernel takes is refused", "[cuda][lora]") {
    const cuda::Device<float> device;
    CHECK_THROWS_AS(cuda::joint_weight(device, Matrix<float>(), std::vector<quaff::LoraAdapter>(5), {}, nullptr),
                    llmc::Error);
}
