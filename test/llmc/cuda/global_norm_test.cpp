#include "llmc/cpu/global_norm.h"

#include "llmc/cuda/global_norm.cuh"
#include "test/llmc/cuda/device_matrix.h"

using namespace cuda_test;

namespace {

const cpu::Device kCpu{2};

}  // namespace

TEST_CASE("the global norm on the GPU is the CPU's", "[cuda][global_norm]") {
    const cuda::Device<bf16> device;
    // 1100003: the blocks go round more than once, and the last Eight is not whole.
    const int64_t count = GENERATE(0, 7, 1100003);
    auto x = random_vector<float>(count, 1);
    if (count == 7) x[3] = 1e25f;  // whose square is no float
    const auto gpu = same_in_every_schedule([&] {
        const DeviceVector<float> device_x(x);
        const DeviceVector<double> workspace(cuda::global_norm_workspace(device));
        return cuda::global_norm<float>(device, device_x.span(), workspace.span());
    });
    std::vector<double> workspace(cpu::global_norm_workspace(kCpu));
    // Doubles added in another order.
    CHECK(gpu == Approx(cpu::global_norm<float>(kCpu, x, workspace)).epsilon(1e-12));
}

TEST_CASE("the global norm refuses a workspace that is too small", "[cuda][global_norm]") {
    const cuda::Device<bf16> device;
    const DeviceVector<double> workspace(1);
    CHECK_THROWS_AS(cuda::global_norm<float>(device, {}, workspace.span()), llmc::Error);
}
