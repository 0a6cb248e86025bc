#include "llmc/cuda/kernel/wgmma.cuh"

#include <string>

#include "llmc/core/integers.h"
#include "test/llmc/cuda/support.h"

#ifdef LLMC_EMULATED
using namespace cuda_test;

namespace {

// The threads of a warpgroup copy the rows of both operands, publish them, all but one, and start a product.
__global__ void publish_kernel(const int8_t* from, int forgetful) {
    const auto memory = reinterpret_cast<uintptr_t>(cuda::shared_memory<int8_t>());
    auto* shared = reinterpret_cast<int8_t*>(cuda::round_up(memory, 1024));
    const int thread = static_cast<int>(threadIdx.x);
    for (int row = thread; row < cuda::kWgmmaRows + cuda::kWgmmaColumns; row += cuda::kWarpgroupThreads) {
        for (int byte = 0; byte < 128; byte += 16) cuda::cp_async_16(shared + row * 128 + byte, from);
    }
    cuda::cp_async_commit();
    cuda::cp_async_wait<0>();
    if (thread != forgetful) cuda::publish_to_wgmma();
    __syncthreads();
    int32_t sums[cuda::kWgmmaSums] = {};
    cuda::wgmma_m64n256<int8_t>(sums, shared, shared + cuda::kWgmmaRows * 128);
}

}  // namespace

TEST_CASE("a warpgroup product of what cp.async brought and nobody published is an error", "[cuda][wgmma]") {
    emu::machine().major = 9;
    const cuda::Device<float> device;
    const DeviceVector<int8_t> from(std::vector<int8_t>(16, 1));
    const auto run = [&](int forgetful) {
        cuda::launch(device, "publish", publish_kernel, 1, cuda::kWarpgroupThreads,
                     (cuda::kWgmmaRows + cuda::kWgmmaColumns) * 128 + 1024, from.data(), forgetful);
    };
    for_each_schedule([&] {
        CHECK_NOTHROW(run(-1));
        for (const int thread : {0, 77, 127}) {  // rows of a and of b, or of b alone
            CHECK_THROWS_WITH(run(thread),
                              Catch::Matchers::ContainsSubstring("for thread " + std::to_string(thread) +
                                                                 ", which has not called publish_to_wgmma()"));
        }
    });
    emu::machine() = {};
}
#endif
