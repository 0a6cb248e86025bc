// Tensor-core instructions of a warpgroup, the four warps of 128 threads: Hopper's (sm_90a) and no other GPU's.
//
// wgmma_m64n256:  D[64,256] += A[64,K] B[256,K]^T, where rows of K elements are 32 bytes: 32 int8, summed in int32, or
// 16 bf16 or fp16, summed in fp32. Both operands are read from shared memory, where rows of 128 bytes lie swizzled as
// SharedTile<int8_t, 128> has them, from a multiple of 1024 bytes on; `a` and `b` point to the first of the 32 bytes in
// row 0. Warp w of the group has rows 16 w .. 16 w + 15 of D. With g = lane / 4 and c = lane % 4 a lane holds
//
//   d[4 t], d[4 t + 1] = D[16 w + g, 8 t + 2 c .. + 1]          d[4 t + 2], d[4 t + 3] = D[16 w + g + 8, the same]
//
// fp32 sums are in d as their bits, so that registers that held integers can hold floats next.
//
// The product is computed in the background. wgmma_fence(d) comes between any other access to d and the first of a
// series; wgmma_commit() closes a group of products; wgmma_wait<N>(d) waits until all but the newest N groups of the
// warpgroup are done: until then neither d nor the shared memory that is read may be touched. The products see what
// other instructions, cp.async among them, have written to shared memory once the threads that wrote it have called
// publish_to_wgmma() and met at a barrier.
//
// PTX ISA 8.7, "Asynchronous Warpgroup Level Matrix Instructions". Under LLMC_EMULATED a product is computed when it is
// waited for, from what shared memory holds then, so that memory reused too early shows; starting one on what cp.async
// brought and its thread has not published is an error.
#pragma once

#include <cstdint>
#include <type_traits>

#include "llmc/cuda/kernel/mma.cuh"

namespace cuda {

constexpr int kWarpgroupThreads = 128;
// Of one product.
constexpr int kWgmmaRows = 64, kWgmmaColumns = 256, kWgmmaBytes = 32;
constexpr int kWgmmaSums = kWgmmaRows * kWgmmaColumns / kWarpgroupThreads;  // of a thread

#ifndef LLMC_EMULATED

// Whether this code is compiled for the one architecture that has the instructions.
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#define LLMC_WGMMA(...) __VA_ARGS__
#else
#define LLMC_WGMMA(...) __trap()
#endif

// The matrix descriptor: the address in units of 16 bytes, 1024 bytes from eight rows to the next eight, and rows of
// 128 bytes swizzled.
__device__ __forceinline__ uint64_t wgmma_descriptor(const void* address) {
    constexpr uint64_t kLeading = 1, kEightRows = 1024 >> 4, kSwizzle128 = 1;
    return (shared_address(address) & 0x3ffff) >> 4 | kLeading << 16 | kEightRows << 32 | kSwizzle128 << 62;
}

#define LLMC_WGMMA_REGISTERS                                                                       \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                       \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "             \
    "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "             \
    "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "             \
    "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "             \
    "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "             \
    "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, " \
    "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"

#define LLMC_WGMMA_4(i) "+r"(d[i]), "+r"(d[i + 1]), "+r"(d[i + 2]), "+r"(d[i + 3])
#define LLMC_WGMMA_16(i) LLMC_WGMMA_4(i), LLMC_WGMMA_4(i + 4), LLMC_WGMMA_4(i + 8), LLMC_WGMMA_4(i + 12)
#define LLMC_WGMMA_64(i) LLMC_WGMMA_16(i), LLMC_WGMMA_16(i + 16), LLMC_WGMMA_16(i + 32), LLMC_WGMMA_16(i + 48)
#define LLMC_WGMMA_SUMS LLMC_WGMMA_64(0), LLMC_WGMMA_64(64)

#define LLMC_WGMMA_PRODUCT(what, immediates)                                                                \
    LLMC_WGMMA(asm volatile("{ .reg .pred adds; setp.ne.b32 adds, 1, 0; wgmma.mma_async.sync.aligned." what \
                            " {" LLMC_WGMMA_REGISTERS "}, %128, %129, adds" immediates "; }"                \
                            : LLMC_WGMMA_SUMS                                                               \
                            : "l"(wgmma_descriptor(a)), "l"(wgmma_descriptor(b))))

template <class T>
__device__ __forceinline__ void wgmma_m64n256(int32_t (&d)[kWgmmaSums], const void* a, const void* b) {
    if constexpr (std::is_same_v<T, int8_t>) LLMC_WGMMA_PRODUCT("m64n256k32.s32.s8.s8", "");
    if constexpr (std::is_same_v<T, bf16>) LLMC_WGMMA_PRODUCT("m64n256k16.f32.bf16.bf16", ", 1, 1, 0, 0");
    if constexpr (std::is_same_v<T, fp16>) LLMC_WGMMA_PRODUCT("m64n256k16.f32.f16.f16", ", 1, 1, 0, 0");
}

// For the compiler, which does not count registers as memory: what it does with d stays on its side of this.
__device__ __forceinline__ void pin_registers(int32_t (&d)[kWgmmaSums]) {
#pragma unroll
    for (int i = 0; i < kWgmmaSums; i++) asm volatile("" : "+r"(d[i])::"memory");
}

__device__ __forceinline__ void wgmma_fence(int32_t (&d)[kWgmmaSums]) {
    pin_registers(d);
    LLMC_WGMMA(asm volatile("wgmma.fence.sync.aligned;" ::: "memory"));
}
__device__ __forceinline__ void wgmma_commit() {
    LLMC_WGMMA(asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"));
}
template <int kNewestGroups>
__device__ __forceinline__ void wgmma_wait(int32_t (&d)[kWgmmaSums]) {
    LLMC_WGMMA(asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kNewestGroups) : "memory"));
    pin_registers(d);
}
__device__ __forceinline__ void publish_to_wgmma() {
    LLMC_WGMMA(asm volatile("fence.proxy.async.shared::cta;" ::: "memory"));
}

#undef LLMC_WGMMA
#undef LLMC_WGMMA_REGISTERS
#undef LLMC_WGMMA_4
#undef LLMC_WGMMA_16
#undef LLMC_WGMMA_64
#undef LLMC_WGMMA_SUMS
#undef LLMC_WGMMA_PRODUCT

#else  // LLMC_EMULATED

namespace emulated {

struct WarpgroupProduct {
    void (*compute)(int32_t* d, uintptr_t a, uintptr_t b, int thread);
    int32_t* d;
    uintptr_t a, b;
};

struct WarpgroupProducts {
    uint64_t block = 0;
    std::vector<WarpgroupProduct> open;
    std::deque<std::vector<WarpgroupProduct>> groups;
};

inline WarpgroupProducts& warpgroup_products() {
    static thread_local std::array<WarpgroupProducts, 1024> of_thread;
    WarpgroupProducts& products = of_thread[threadIdx.x];
    const uint64_t block = emu::Scheduler::of_this_os_thread().blocks_begun();
    if (products.block != block) products = {.block = block, .open = {}, .groups = {}};
    return products;
}

// Where byte `index` of the 32 of a row lies: the bits of an address that count rows are xored into those that count
// chunks of 16 bytes.
inline uintptr_t swizzled(uintptr_t base, int row, int index) {
    const uintptr_t address = base + row * 128 + index;
    return address ^ (address >> 7 & 7) << 4;
}

template <class T>
auto swizzled_element(uintptr_t base, int row, int index) {
    const uintptr_t address = swizzled(base, row, index * static_cast<int>(sizeof(T)));
    if constexpr (std::is_same_v<T, int8_t>)
        return int32_t{*reinterpret_cast<const int8_t*>(address)};
    else
        return to_float(*reinterpret_cast<const T*>(address));
}

// Of an operand's rows, whose chunks the threads of the warpgroup share out.
inline void require_published(const char* operand, const void* base, int rows) {
    const Landings& landings = emulated::landings();
    for (int i = static_cast<int>(threadIdx.x) % kWarpgroupThreads; i < 2 * rows; i += kWarpgroupThreads) {
        const auto found = landings.last.find(swizzled(reinterpret_cast<uintptr_t>(base), i / 2, i % 2 * 16) / 16);
        if (found == landings.last.end()) continue;
        const auto [thread, time] = found->second;
        if (time > landings.published[thread]) {
            emu::Scheduler::of_this_os_thread().fail(concat("a warpgroup product reads row ", i / 2, " of ", operand,
                                                            " from what cp.async brought for thread ", thread,
                                                            ", which has not called publish_to_wgmma() since"));
        }
    }
}

template <class T>
void wgmma(int32_t* d, uintptr_t a, uintptr_t b, int thread) {
    using Sum = std::conditional_t<std::is_same_v<T, int8_t>, int32_t, float>;
    constexpr int kDepth = kWgmmaBytes / sizeof(T);
    const int first_row = thread % kWarpgroupThreads / 32 * 16 + thread % 32 / 4, first_column = thread % 4 * 2;
    Sum rows[2][kDepth], column[kDepth];
    for (int k = 0; k < kDepth; k++) {
        for (int half = 0; half < 2; half++) rows[half][k] = swizzled_element<T>(a, first_row + 8 * half, k);
    }
    for (int i = 0; i < kWgmmaSums; i += i % 2 == 0 ? 1 : 3) {  // the first of the two rows' sums of a column
        for (int k = 0; k < kDepth; k++) column[k] = swizzled_element<T>(b, i / 4 * 8 + first_column + i % 2, k);
        for (int half = 0; half < 2; half++) {
            Sum sum = std::bit_cast<Sum>(d[i + 2 * half]);
            for (int k = 0; k < kDepth; k++) sum += rows[half][k] * column[k];
            d[i + 2 * half] = std::bit_cast<int32_t>(sum);
        }
    }
}

}  // namespace emulated

template <class T>
void wgmma_m64n256(int32_t (&d)[kWgmmaSums], const void* a, const void* b) {
    emulated::require_published("a", a, kWgmmaRows);
    emulated::require_published("b", b, kWgmmaColumns);
    emulated::warpgroup_products().open.push_back(
        {emulated::wgmma<T>, d, reinterpret_cast<uintptr_t>(a), reinterpret_cast<uintptr_t>(b)});
}

inline void wgmma_fence(int32_t (&/*d*/)[kWgmmaSums]) {}

inline void wgmma_commit() {
    emulated::WarpgroupProducts& products = emulated::warpgroup_products();
    products.groups.push_back(std::move(products.open));
    products.open.clear();
}

template <int kNewestGroups>
void wgmma_wait(int32_t (&/*d*/)[kWgmmaSums]) {
    auto& groups = emulated::warpgroup_products().groups;
    for (; groups.size() > kNewestGroups; groups.pop_front()) {
        for (const emulated::WarpgroupProduct& product : groups.front())
            product.compute(product.d, product.a, product.b, static_cast<int>(threadIdx.x));
    }
}

inline void publish_to_wgmma() {
    emulated::Landings& landings = emulated::landings();
    landings.published[emulated::thread_of_block()] = landings.time;
}

#endif  // LLMC_EMULATED

}  // namespace cuda
