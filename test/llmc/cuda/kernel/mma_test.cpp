#include "llmc/cuda/kernel/mma.cuh"

#include <cstring>

#include "test/llmc/cuda/support.h"

using namespace cuda_test;

namespace {

// One warp: d[16, 8] = a[16, 16] b[16, 8], b given as it is (loaded transposed) or as its transpose.
template <class T>
__global__ void product_kernel(float* d, const T* a, const T* b, const T* b_transposed, bool transposed, bool halves) {
    alignas(16) __shared__ T a_tile[16 * 16], b_tile[16 * 8], bt_tile[8 * 16];
    for (int i = threadIdx.x; i < 256; i += 32) a_tile[i] = a[i];
    for (int i = threadIdx.x; i < 128; i += 32) {
        b_tile[i] = b[i];
        bt_tile[i] = b_transposed[i];
    }
    __syncthreads();
    const int lane = threadIdx.x;
    uint32_t a_registers[4], b_registers[2];
    cuda::ldmatrix_x4(a_registers, a_tile + lane % 16 * 16 + lane / 16 * 8);
    if (transposed)
        cuda::ldmatrix_x2(b_registers, bt_tile + lane % 8 * 16 + lane / 8 % 2 * 8);
    else
        cuda::ldmatrix_x2_trans(b_registers, b_tile + lane % 16 * 8);
    float sums[4] = {1, 1, 1, 1};  // to be added to
    if (halves) {
        cuda::mma_m16n8k8(sums, a_registers[0], a_registers[1], b_registers[0]);
        cuda::mma_m16n8k8(sums, a_registers[2], a_registers[3], b_registers[1]);
    } else {
        cuda::mma_m16n8k16<T>(sums, a_registers, b_registers[0], b_registers[1]);
    }
    for (int i = 0; i < 4; i++) d[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = sums[i];
}

// One warp: d[16, 8] += a[16, 32] b[8, 32]^T.
__global__ void int8_product_kernel(int32_t* d, const int8_t* a, const int8_t* b) {
    alignas(16) __shared__ int8_t a_tile[16 * 32], b_tile[8 * 32];
    for (int i = threadIdx.x; i < 16 * 32; i += 32) a_tile[i] = a[i];
    for (int i = threadIdx.x; i < 8 * 32; i += 32) b_tile[i] = b[i];
    __syncthreads();
    const int lane = threadIdx.x;
    uint32_t a_registers[4], b_registers[2];
    cuda::ldmatrix_x4(a_registers, a_tile + lane % 16 * 32 + lane / 16 * 16);
    cuda::ldmatrix_x2(b_registers, b_tile + lane % 8 * 32 + lane / 8 % 2 * 16);
    const auto element = [&](int i) -> int32_t& { return d[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2]; };
    int32_t sums[4];
    for (int i = 0; i < 4; i++) sums[i] = element(i);
    cuda::mma_m16n8k32_s8(sums, a_registers, b_registers[0], b_registers[1]);
    for (int i = 0; i < 4; i++) element(i) = sums[i];
}

// The registers of four 8 x 8 tiles lying side by side in rows of 32 elements, as floats.
__global__ void ldmatrix_kernel(float* plain, float* transposed, const fp16* tiles) {
    alignas(16) __shared__ fp16 shared[8 * 32];
    for (int i = threadIdx.x; i < 8 * 32; i += 32) shared[i] = tiles[i];
    __syncthreads();
    const int lane = threadIdx.x;
    for (const bool trans : {false, true}) {
        uint32_t r[4];
        if (trans)
            cuda::ldmatrix_x4_trans(r, shared + lane % 8 * 32 + lane / 8 * 8);
        else
            cuda::ldmatrix_x4(r, shared + lane % 8 * 32 + lane / 8 * 8);
        for (int t = 0; t < 4; t++) {
            fp16 pair[2];
            memcpy(static_cast<void*>(pair), &r[t], 4);
            for (int i = 0; i < 2; i++)
                (trans ? transposed : plain)[(t * 8 + lane / 4) * 8 + lane % 4 * 2 + i] = cuda::to_float(pair[i]);
        }
    }
}

template <class T>
__global__ void pack_kernel(uint32_t* pairs, const float* values) {
    pairs[threadIdx.x] = cuda::pack<T>(values[2 * threadIdx.x], values[2 * threadIdx.x + 1]);
}

// Three groups of copies: what each thread sees of its own after waiting for the first, the second and all.
__global__ void copy_kernel(float4* seen, const float4* from, bool last_present) {
    __shared__ float4 to[3][32];
    const int lane = threadIdx.x;
    for (int group = 0; group < 3; group++) {
        cuda::cp_async_16(&to[group][lane], from + group * 32 + lane, group < 2 || last_present);
        cuda::cp_async_commit();
    }
    cuda::cp_async_wait<2>();
    seen[lane] = to[0][lane];
    cuda::cp_async_wait<1>();
    seen[32 + lane] = to[1][lane];
    cuda::cp_async_wait<0>();
    seen[64 + lane] = to[2][lane];
}

__global__ void small_copy_kernel(float* seen, const float* from, int count) {
    __shared__ float to[32];
    cuda::cp_async_4(&to[threadIdx.x], from + threadIdx.x, static_cast<int>(threadIdx.x) < count);
    cuda::cp_async_commit();
    cuda::cp_async_wait<0>();
    seen[threadIdx.x] = to[threadIdx.x];
}

__global__ void partial_copy_kernel(fp16* seen, const fp16* from) {
    alignas(16) __shared__ fp16 to[9 * 8];
    if (threadIdx.x < 9) cuda::cp_async_first(to + 8 * threadIdx.x, from, 2 * static_cast<int>(threadIdx.x));
    cuda::cp_async_commit();
    cuda::cp_async_wait<0>();
    if (threadIdx.x < 9) {
        for (int i = 0; i < 8; i++) seen[8 * threadIdx.x + i] = to[8 * threadIdx.x + i];
    }
}

std::vector<float> small_integers(size_t count, int factor) {
    std::vector<float> values(count);
    for (size_t i = 0; i < count; i++) values[i] = static_cast<float>(static_cast<int>(i * factor % 23) - 11);
    return values;
}

template <class T>
void check_product(bool transposed, bool halves) {
    const std::vector<float> a = small_integers(256, 7), b = small_integers(128, 5);
    std::vector<float> b_transposed(128), expected(128, 1.0f);
    for (int k = 0; k < 16; k++)
        for (int j = 0; j < 8; j++) b_transposed[j * 16 + k] = b[k * 8 + j];
    for (int i = 0; i < 16; i++)
        for (int j = 0; j < 8; j++)
            for (int k = 0; k < 16; k++) expected[i * 8 + j] += a[i * 16 + k] * b[k * 8 + j];
    const cuda::Device<T> device;
    for_each_schedule([&] {
        DeviceVector<T> a_device(narrow<T>(a)), b_device(narrow<T>(b)), bt_device(narrow<T>(b_transposed));
        DeviceVector<float> d(128);
        cuda::launch(device, "product", product_kernel<T>, 1, 32, 0, d.data(), a_device.data(), b_device.data(),
                     bt_device.data(), transposed, halves);
        CHECK(d.download() == expected);  // integers: exact
    });
}

}  // namespace

TEST_CASE("an mma of ldmatrix's registers is a matrix product", "[cuda][mma]") {
    const bool transposed = GENERATE(false, true);
    check_product<bf16>(transposed, false);
    check_product<fp16>(transposed, false);
    check_product<fp16>(transposed, true);
}

TEST_CASE("an int8 mma of ldmatrix's registers is the exact matrix product", "[cuda][mma]") {
    std::vector<int8_t> a(16 * 32), b(8 * 32);
    for (size_t i = 0; i < a.size(); i++) a[i] = static_cast<int8_t>(i * 37 % 256 - 128);  // all of int8
    for (size_t i = 0; i < b.size(); i++) b[i] = static_cast<int8_t>(i * 91 % 251 - 125);
    std::vector<int32_t> before(128), expected(128);
    for (int i = 0; i < 16; i++) {
        for (int j = 0; j < 8; j++) {
            before[i * 8 + j] = expected[i * 8 + j] = (i - 7) * (1 << 20) + j;
            for (int k = 0; k < 32; k++) expected[i * 8 + j] += a[i * 32 + k] * b[j * 32 + k];
        }
    }
    const cuda::Device<float> device;
    for_each_schedule([&] {
        const DeviceVector<int8_t> a_device(a), b_device(b);
        DeviceVector<int32_t> d(before);
        cuda::launch(device, "int8_product", int8_product_kernel, 1, 32, 0, d.data(), a_device.data(), b_device.data());
        CHECK(d.download() == expected);
    });
}

TEST_CASE("ldmatrix hands out four tiles, as they lie or transposed", "[cuda][mma]") {
    std::vector<float> tiles(256), plain(256), transposed(256);
    for (int i = 0; i < 256; i++) tiles[i] = static_cast<float>(i);
    for (int t = 0; t < 4; t++) {
        for (int i = 0; i < 8; i++) {
            for (int j = 0; j < 8; j++) {
                plain[(t * 8 + i) * 8 + j] = tiles[i * 32 + t * 8 + j];
                transposed[(t * 8 + j) * 8 + i] = tiles[i * 32 + t * 8 + j];
            }
        }
    }
    const cuda::Device<fp16> device;
    DeviceVector<float> seen_plain(256), seen_transposed(256);
    DeviceVector<fp16> input(narrow<fp16>(tiles));
    cuda::launch(device, "ldmatrix", ldmatrix_kernel, 1, 32, 0, seen_plain.data(), seen_transposed.data(),
                 input.data());
    CHECK(seen_plain.download() == plain);
    CHECK(seen_transposed.download() == transposed);
}

TEST_CASE("two floats are packed low half first, each rounded to nearest even", "[cuda][mma]") {
    std::vector<float> values = small_integers(64, 3);
    for (size_t i = 0; i < values.size(); i++) values[i] *= 1 + static_cast<float>(i) / 4099;
    const cuda::Device<float> device;
    const DeviceVector<float> input(values);
    const auto check = [&]<class T>(T) {
        DeviceVector<uint32_t> pairs(32);
        cuda::launch(device, "pack", pack_kernel<T>, 1, 32, 0, pairs.data(), input.data());
        std::vector<T> expected = narrow<T>(values), seen(64);
        std::memcpy(static_cast<void*>(seen.data()), pairs.download().data(), 128);
        CHECK(same_bits(seen, expected));
    };
    check(bf16());
    check(fp16());
}

TEST_CASE("asynchronous copies land group by group, zeros where nothing is present", "[cuda][mma]") {
    std::vector<float> values(3 * 128);
    for (size_t i = 0; i < values.size(); i++) values[i] = static_cast<float>(i + 1);
    const bool last_present = GENERATE(true, false);
    const cuda::Device<float> device;
    for_each_schedule([&] {
        const DeviceVector<float> from(values);
        DeviceVector<float> seen(3 * 128);
        cuda::launch(device, "copy", copy_kernel, 1, 32, 0, reinterpret_cast<float4*>(seen.data()),
                     reinterpret_cast<const float4*>(from.data()), last_present);
        std::vector<float> expected = values;
        if (!last_present) std::fill(expected.begin() + 256, expected.end(), 0.0f);
        CHECK(seen.download() == expected);

        DeviceVector<float> seen_small(32);
        cuda::launch(device, "small copy", small_copy_kernel, 1, 32, 0, seen_small.data(), from.data(), 5);
        std::vector<float> expected_small(32);
        std::copy_n(values.begin(), 5, expected_small.begin());
        CHECK(seen_small.download() == expected_small);

        const std::vector<fp16> eight = narrow<fp16>(std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8});
        const DeviceVector<fp16> eight_gpu(eight);
        DeviceVector<fp16> seen_partial(9 * 8);
        cuda::launch(device, "partial copy", partial_copy_kernel, 1, 32, 0, seen_partial.data(), eight_gpu.data());
        std::vector<fp16> expected_partial(9 * 8, narrow<fp16>(0.0f));
        for (int64_t count = 0; count < 9; count++)
            std::copy_n(eight.begin(), count, expected_partial.begin() + 8 * count);
        CHECK(same_bits(seen_partial.download(), expected_partial));
    });
}

#ifdef LLMC_EMULATED
namespace {

__global__ void impatient_kernel(float* seen, const float* from) {
    alignas(16) __shared__ float to[4];
    cuda::cp_async_16(to, from);
    cuda::cp_async_commit();
    *seen = to[0];
    cuda::cp_async_wait<0>();
}

__global__ void unaligned_kernel(const float* from) {
    alignas(16) __shared__ float to[8];
    cuda::cp_async_16(to, from + 1);
}

// Copies and does not wait, or waits without having copied.
__global__ void forgetful_kernel(float* seen, const float* from, bool copies) {
    alignas(16) __shared__ float to[4];
    to[0] = 7;
    if (copies) cuda::cp_async_16(to, from);
    cuda::cp_async_commit();
    if (!copies) cuda::cp_async_wait<0>();
    *seen = to[0];
}

}  // namespace

TEST_CASE("a copy that is never waited for does not land in the next block's memory", "[cuda][mma]") {
    const cuda::Device<float> device;
    const DeviceVector<float> from(std::vector<float>(4, 1.0f));
    DeviceVector<float> seen(1);
    cuda::launch(device, "forgetful", forgetful_kernel, 1, 1, 0, seen.data(), from.data(), true);
    cuda::launch(device, "forgetful", forgetful_kernel, 1, 1, 0, seen.data(), from.data(), false);
    CHECK(seen.download()[0] == 7);
}

TEST_CASE("a copy that is read before it is waited for is NaN under the emulator", "[cuda][mma]") {
    const cuda::Device<float> device;
    const DeviceVector<float> from(std::vector<float>(8, 1.0f));
    DeviceVector<float> seen(1);
    cuda::launch(device, "impatient", impatient_kernel, 1, 1, 0, seen.data(), from.data());
    CHECK(std::isnan(seen.download()[0]));
    CHECK_THROWS_AS(cuda::launch(device, "unaligned", unaligned_kernel, 1, 1, 0, from.data()), emu::Error);
}
#endif
