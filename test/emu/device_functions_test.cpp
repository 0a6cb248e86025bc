// The functions that kernels call, against their definition in the CUDA C++ Programming Guide.
#include <cmath>
#include <limits>

#include "test/llmc/cuda/support.h"

using namespace cuda_test;

namespace {

struct Shuffled {
    int from_3, xor_5, up_2, down_2, in_segment_of_8, up_in_segment_of_8;
    long long wide;
};

__global__ void shuffle_all(Shuffled* out) {
    const int lane = threadIdx.x % 32;
    const unsigned all = 0xffffffff;
    out[threadIdx.x] = {__shfl_sync(all, lane, 3),        __shfl_xor_sync(all, lane, 5),
                        __shfl_up_sync(all, lane, 2),     __shfl_down_sync(all, lane, 2),
                        __shfl_sync(all, lane, 9, 8),     __shfl_up_sync(all, lane, 2, 8),
                        __shfl_sync(all, 1LL << lane, 31)};
}

__global__ void vote_all(unsigned* out) {
    const unsigned odd = __ballot_sync(0xffffffff, threadIdx.x % 2);
    const int any = __any_sync(0xffffffff, threadIdx.x == 7), none = __any_sync(0xffffffff, threadIdx.x == 99);
    const int all = __all_sync(0xffffffff, threadIdx.x < 32), not_all = __all_sync(0xffffffff, threadIdx.x < 31);
    out[threadIdx.x] = odd + any + 2 * none + 4 * all + 8 * not_all;
}

// Lanes of a warp may diverge and meet in parts.
__global__ void halves(int* out) {
    const unsigned mask = threadIdx.x < 16 ? 0xffff : 0xffff0000;
    int x = threadIdx.x;
    for (int distance = 8; distance > 0; distance /= 2) x += __shfl_xor_sync(mask, x, distance);
    if (threadIdx.x < 16) __syncwarp(0xffff);
    out[threadIdx.x] = x;
}

__global__ void atomics(int* out, unsigned long long* sum) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    atomicAdd(&out[0], 1);
    atomicMax(&out[1], i * 7 % 4096);
    atomicMin(&out[2], -i);
    atomicOr(&out[3], 1 << (i % 20));
    atomicCAS(&out[4], 0, 5);
    atomicAdd(sum, 1ull << 33);
}

}  // namespace

TEST_CASE("shuffles move values between lanes", "[emu][device]") {
    const cuda::Device<float> device;
    for_each_schedule([&] {
        DeviceVector<Shuffled> out(64);
        cuda::launch(device, "shuffle_all", shuffle_all, 1, 64, 0, out.data());
        const auto values = out.download();
        for (int t = 0; t < 64; t++) {
            const int lane = t % 32;
            const Shuffled& v = values[t];
            CHECK(v.from_3 == 3);
            CHECK(v.xor_5 == (lane ^ 5));
            CHECK(v.up_2 == (lane < 2 ? lane : lane - 2));
            CHECK(v.down_2 == (lane > 29 ? lane : lane + 2));
            CHECK(v.in_segment_of_8 == lane / 8 * 8 + 1);
            CHECK(v.up_in_segment_of_8 == (lane % 8 < 2 ? lane : lane - 2));
            CHECK(v.wide == 1LL << 31);
        }
    });
}

TEST_CASE("votes ask all lanes", "[emu][device]") {
    const cuda::Device<float> device;
    for_each_schedule([&] {
        DeviceVector<unsigned> out(32);
        cuda::launch(device, "vote_all", vote_all, 1, 32, 0, out.data());
        CHECK(out.download() == std::vector<unsigned>(32, 0xaaaaaaaa + 5));
    });
}

TEST_CASE("parts of a warp act apart", "[emu][device]") {
    const cuda::Device<float> device;
    for_each_schedule([&] {
        DeviceVector<int> out(32);
        cuda::launch(device, "halves", halves, 1, 32, 0, out.data());
        const auto sums = out.download();
        for (int t = 0; t < 32; t++) CHECK(sums[t] == (t < 16 ? 120 : 376));
    });
}

TEST_CASE("integer atomics lose nothing when blocks run at the same time", "[emu][device]") {
    const cuda::Device<float> device;
    for_each_schedule([&] {
        DeviceVector<int> out(std::vector<int>(5, 0));
        DeviceVector<unsigned long long> sum(std::vector<unsigned long long>{0});
        cuda::launch(device, "atomics", atomics, 64, 128, 0, out.data(), sum.data());
        CHECK(out.download() == std::vector<int>{8192, 4095, -8191, (1 << 20) - 1, 5});
        CHECK(sum.download()[0] == 8192ull << 33);
    });
}

TEST_CASE("__float2int_rn rounds ties to even and saturates", "[emu][device]") {
    CHECK(__float2int_rn(0.5f) == 0);
    CHECK(__float2int_rn(1.5f) == 2);
    CHECK(__float2int_rn(-2.5f) == -2);
    CHECK(__float2int_rn(3e9f) == std::numeric_limits<int>::max());
    CHECK(__float2int_rn(-INFINITY) == std::numeric_limits<int>::min());
    CHECK(__float2int_rn(NAN) == 0);
    CHECK(__float2int_rz(-1.9f) == -1);
}

TEST_CASE("packed integer arithmetic", "[emu][device]") {
    CHECK(__dp4a(0x01020304, 0x05060708, 10) == 10 + 5 + 12 + 21 + 32);
    CHECK(__dp4a(static_cast<int>(0xff808182u), 0x7f7f7f7f, 0) == 127 * (-1 - 128 - 127 - 126));
    CHECK(__byte_perm(0x33221100, 0x77665544, 0x6420) == 0x66442200);
    CHECK(__byte_perm(0x33221100, 0x77665544, 0x0123) == 0x00112233);
    CHECK(__umulhi(0xffffffff, 0xffffffff) == 0xfffffffe);
    CHECK(__clz(1) == 31);
    CHECK(__ffs(8) == 4);
    CHECK(__popc(0xf0f0) == 8);
}

TEST_CASE("16-bit floats round as the hardware does", "[emu][device]") {
    CHECK(__bfloat16_as_ushort(__float2bfloat16_rn(1 + 0x1p-8f)) == 0x3f80);  // a tie, to even
    CHECK(__bfloat16_as_ushort(__float2bfloat16_rn(1 + 0x3p-8f)) == 0x3f82);  // a tie, to even
    CHECK(__bfloat16_as_ushort(__float2bfloat16_rn(3.4e38f)) == 0x7f80);      // infinity
    CHECK(__bfloat16_as_ushort(__float2bfloat16_rn(-NAN)) == 0x7fff);
    CHECK(__half_as_ushort(__float2half_rn(65519)) == 0x7bff);
    CHECK(__half_as_ushort(__float2half_rn(65520)) == 0x7c00);
    CHECK(__half_as_ushort(__float2half_rn(0x1p-24f)) == 1);
    CHECK(__half_as_ushort(__float2half_rn(NAN)) == 0x7fff);
    for (unsigned bits = 0; bits < 0x10000; bits++) {
        const float b = __bfloat162float(__ushort_as_bfloat16(static_cast<unsigned short>(bits)));
        if (!std::isnan(b)) REQUIRE(__bfloat16_as_ushort(__float2bfloat16(b)) == bits);
        const float h = __half2float(__ushort_as_half(static_cast<unsigned short>(bits)));
        if (!std::isnan(h)) REQUIRE(__half_as_ushort(__float2half(h)) == bits);
    }
}
