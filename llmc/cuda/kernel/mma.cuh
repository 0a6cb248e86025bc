// Tensor-core instructions of a warp, one function per PTX instruction, for sm_75 (fp16, int8) and sm_80 up (bf16,
// too).
//
// mma_m16n8k16:  D[16,8] += A[16,16] B[16,8], fp32 sums of 16-bit products. With g = lane / 4 and c = lane % 4 a lane
// holds
//
//   a[0] = A[g, 2c..2c+1]       a[1] = A[g+8, 2c..2c+1]       a[2] = A[g, 2c+8..2c+9]       a[3] = A[g+8, 2c+8..2c+9]
//   b0   = B[2c..2c+1, g]       b1   = B[2c+8..2c+9, g]       two elements a register, the lower index in the low half
//   d[0], d[1] = D[g, 2c..2c+1]                               d[2], d[3] = D[g+8, 2c..2c+1]
//
// so that two neighbouring D tiles, narrowed to 16 bits by `pack`, are an A tile of the next product. mma_m16n8k8 is
// the first half of it: a[0], a[1], b0. Before sm_80 there is only this half, and the whole is two of them.
//
// dealt_column: which column of four neighbouring D tiles gets column `col` of a matrix. The eight columns that a lane
// has in a row, two of each tile, are then eight neighbouring columns of the matrix, 8c .. 8c+7 of those 32, and move
// as one Eight. The rows of B's transpose are put into shared memory in this order.
//
// mma_m16n8k32_s8:  D[16,8] += A[16,32] B[32,8], int32 sums of int8 products, which wrap around. The registers are
// those of mma_m16n8k16 with two int8 in place of each 16-bit element:
//
//   a[0] = A[g, 4c..4c+3]       a[2] = A[g, 4c+16..4c+19]     b0 = B[4c..4c+3, g]           and so on
//
// Before sm_80 it is four products of [8,16] and [16,8].
//
// ldmatrix_x4 loads four 8 x 8 tiles of 16-bit elements from shared memory: lane l gives the address of row l % 8 of
// tile l / 8 (16 bytes, 16-byte aligned) and gets r[t] = tile t [g, 2c..2c+1]: the registers of A above, or of B when
// the rows in memory are B's columns. ldmatrix_x4_trans gets r[t] = tile t [2c..2c+1, g]: B when the rows in memory are
// B's rows. A tile may also be 8 rows of 16 int8, which cannot be transposed. ldmatrix_x2 and ldmatrix_x2_trans load
// two tiles, addressed by lanes 0..15; the other lanes' addresses are not read.
//
// cp_async_16 (16 bytes, both addresses aligned to that; cp_async_4: 4 bytes) copies global to shared memory in the
// background, zeros if `present` is false. cp_async_first copies the first `bytes` of 16, an even number of them, and
// puts zeros behind them. cp_async_commit closes a group of copies; cp_async_wait<N> waits until all but the newest N
// groups of this thread have landed; the other threads see them after a barrier. Before sm_80 the copy happens at once.
//
// PTX ISA 8.7, "Warp Level Matrix Multiply-Accumulate Instructions" and "Asynchronous copy". Under LLMC_EMULATED each
// function has a body for the CPU: the lanes pool their registers and get what the layout above says. A copy lands only
// when it is waited for; until then its destination is NaN.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "llmc/cuda/kernel/numeric.cuh"

#ifdef LLMC_EMULATED
#include <array>
#include <bit>
#include <deque>
#include <source_location>
#include <unordered_map>
#include <vector>
#endif

namespace cuda {

// Two floats as two T in a register, `low` in the low half.
template <class T>
__device__ inline uint32_t pack(float low, float high) {
    uint32_t pair;
    if constexpr (std::is_same_v<T, bf16>) {
        const __nv_bfloat162 values = __floats2bfloat162_rn(low, high);
        memcpy(&pair, &values, sizeof pair);
    } else {
        const __half2 values = __floats2half2_rn(low, high);
        memcpy(&pair, &values, sizeof pair);
    }
    return pair;
}

__device__ inline int dealt_column(int col) {
    const int lane = col >> 3 & 3, tile = col >> 1 & 3;
    return (col & ~30) | tile << 3 | lane << 1;
}

#ifndef LLMC_EMULATED

__device__ __forceinline__ uint32_t shared_address(const void* pointer) {
    return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

__device__ __forceinline__ void mma_m16n8k8(float (&d)[4], uint32_t a0, uint32_t a1, uint32_t b0) {
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a0), "r"(a1), "r"(b0));
}

template <class T>
__device__ __forceinline__ void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1);

template <>
__device__ __forceinline__ void mma_m16n8k16<fp16>(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
#if __CUDA_ARCH__ >= 800
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
    mma_m16n8k8(d, a[0], a[1], b0);
    mma_m16n8k8(d, a[2], a[3], b1);
#endif
}

// Code for sm_75 compiles this and never calls it: there is no bf16 arithmetic there.
template <>
__device__ __forceinline__ void mma_m16n8k16<bf16>(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
#if __CUDA_ARCH__ >= 800
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
    __trap();
#endif
}

__device__ __forceinline__ void mma_m8n8k16_s8(int32_t& d0, int32_t& d1, uint32_t a, uint32_t b) {
    asm volatile("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0, %1}, {%2}, {%3}, {%0, %1};"
                 : "+r"(d0), "+r"(d1)
                 : "r"(a), "r"(b));
}

__device__ __forceinline__ void mma_m16n8k32_s8(int32_t (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
#if __CUDA_ARCH__ >= 800
    asm volatile(
        "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
    mma_m8n8k16_s8(d[0], d[1], a[0], b0);
    mma_m8n8k16_s8(d[2], d[3], a[1], b0);
    mma_m8n8k16_s8(d[0], d[1], a[2], b1);
    mma_m8n8k16_s8(d[2], d[3], a[3], b1);
#endif
}

__device__ __forceinline__ void ldmatrix_x4(uint32_t (&r)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}

__device__ __forceinline__ void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}

__device__ __forceinline__ void ldmatrix_x2(uint32_t (&r)[2], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(shared_address(row))
                 : "memory");
}

__device__ __forceinline__ void ldmatrix_x2_trans(uint32_t (&r)[2], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(shared_address(row))
                 : "memory");
}

// 16 bytes pass by L1: a tile is read from global memory once by a block.
__device__ __forceinline__ void cp_async_16(void* shared, const void* global, bool present = true) {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global),
                 "r"(present ? 16 : 0)
                 : "memory");
#else
    *static_cast<uint4*>(shared) = present ? *static_cast<const uint4*>(global) : make_uint4(0, 0, 0, 0);
#endif
}

__device__ __forceinline__ void cp_async_first(void* shared, const void* global, int bytes) {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global), "r"(bytes)
                 : "memory");
#else
    uint4 value = make_uint4(0, 0, 0, 0);
    if (bytes == 16) {
        value = *static_cast<const uint4*>(global);
    } else {
#pragma unroll
        for (int i = 0; i < 7; i++) {
            if (2 * i < bytes) reinterpret_cast<uint16_t*>(&value)[i] = static_cast<const uint16_t*>(global)[i];
        }
    }
    *static_cast<uint4*>(shared) = value;
#endif
}

__device__ __forceinline__ void cp_async_4(void* shared, const void* global, bool present = true) {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(shared_address(shared)), "l"(global),
                 "r"(present ? 4 : 0)
                 : "memory");
#else
    *static_cast<uint32_t*>(shared) = present ? *static_cast<const uint32_t*>(global) : 0;
#endif
}

__device__ __forceinline__ void cp_async_commit() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

template <int kNewestGroups>
__device__ __forceinline__ void cp_async_wait() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(kNewestGroups) : "memory");
#endif
}

#else  // LLMC_EMULATED

namespace emulated {

// Element i of a register's two, or of its four int8.
template <class T>
auto unpack(uint32_t word, int i) {
    if constexpr (std::is_same_v<T, int8_t>)
        return int32_t{static_cast<int8_t>(word >> (8 * i))};
    else
        return to_float(std::bit_cast<T>(static_cast<uint16_t>(word >> (16 * i))));
}

// D += A B over the first kDepth columns of A, once all lanes have brought their registers.
template <class T, int kDepth, class Sum>
void mma(const char* name, Sum (&d)[4], const std::array<uint32_t, 4>& a, const std::array<uint32_t, 2>& b) {
    struct Lane {
        Sum* d;
        std::array<uint32_t, 4> a;
        std::array<uint32_t, 2> b;
    } self{d, a, b};
    emu::Scheduler::of_this_os_thread().collective(
        name, kFullMask, &self,
        [](void* const(&lanes)[32]) {
            const auto lane = [&](int l) -> const Lane& { return *static_cast<const Lane*>(lanes[l]); };
            constexpr int kOfRegister = 4 / sizeof(T), kOfLanes = 4 * kOfRegister;
            Sum rows[16][kDepth], columns[8][kDepth];  // A and the columns of B
            for (int k = 0; k < kDepth; k++) {
                const int c = k % kOfLanes / kOfRegister, register_pair = k / kOfLanes, element = k % kOfRegister;
                for (int i = 0; i < 16; i++)
                    rows[i][k] = unpack<T>(lane(i % 8 * 4 + c).a[i / 8 + register_pair * 2], element);
                for (int j = 0; j < 8; j++) columns[j][k] = unpack<T>(lane(j * 4 + c).b[register_pair], element);
            }
            for (int l = 0; l < 32; l++) {
                for (int i = 0; i < 4; i++) {
                    const Sum* row = rows[l / 4 + i / 2 * 8];
                    const Sum* column = columns[l % 4 * 2 + i % 2];
                    for (int k = 0; k < kDepth; k++) lane(l).d[i] += row[k] * column[k];
                }
            }
        },
        std::source_location::current());
}

template <int kTiles, bool kTransposed>
void ldmatrix(const char* name, uint32_t (&r)[kTiles], const void* row) {
    struct Lane {
        uint32_t* r;
        const uint16_t* row;
    } self{r, static_cast<const uint16_t*>(row)};
    emu::Scheduler& scheduler = emu::Scheduler::of_this_os_thread();
    if (reinterpret_cast<uintptr_t>(row) % 16 != 0) scheduler.fail(concat(name, " reads an unaligned row"));
    scheduler.collective(
        name, kFullMask, &self,
        [](void* const(&lanes)[32]) {
            const auto lane = [&](int l) -> const Lane& { return *static_cast<const Lane*>(lanes[l]); };
            for (int l = 0; l < 32; l++) {
                const int g = l / 4, c = l % 4;
                for (int t = 0; t < kTiles; t++) {
                    const auto element = [&](int i, int j) -> uint32_t { return lane(8 * t + i).row[j]; };
                    lane(l).r[t] = kTransposed ? element(2 * c, g) | element(2 * c + 1, g) << 16
                                               : element(g, 2 * c) | element(g, 2 * c + 1) << 16;
                }
            }
        },
        std::source_location::current());
}

struct AsyncCopy {
    void* to;
    const void* from;
    int bytes;
    int present;  // of those bytes; zeros behind them
};

struct AsyncCopies {
    uint64_t block = 0;
    std::vector<AsyncCopy> open;
    std::deque<std::vector<AsyncCopy>> groups;
};

inline unsigned thread_of_block() {
    return threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
}

inline AsyncCopies& async_copies() {
    static thread_local std::array<AsyncCopies, 1024> of_thread;
    AsyncCopies& copies = of_thread[thread_of_block()];
    // Copies that an earlier block never waited for have nowhere to land any more.
    const uint64_t block = emu::Scheduler::of_this_os_thread().blocks_begun();
    if (copies.block != block) copies = {.block = block, .open = {}, .groups = {}};
    return copies;
}

// When the copies of a block landed, and when its threads last published theirs (wgmma.cuh). Time goes on from block to
// block.
struct Landings {
    struct Landing {
        unsigned thread;
        uint64_t time;
    };
    uint64_t block = 0, time = 0;
    std::unordered_map<uintptr_t, Landing> last;  // on each 16 bytes, by their number
    std::array<uint64_t, 1024> published{};       // of each thread
};

inline Landings& landings() {
    static thread_local Landings of_block;
    const uint64_t block = emu::Scheduler::of_this_os_thread().blocks_begun();
    if (of_block.block != block) of_block.last.clear();
    of_block.block = block;
    return of_block;
}

inline void cp_async(void* shared, const void* global, int bytes, int present) {
    if (reinterpret_cast<uintptr_t>(shared) % bytes != 0 || reinterpret_cast<uintptr_t>(global) % bytes != 0)
        emu::Scheduler::of_this_os_thread().fail(concat("cp.async of ", bytes, " bytes at an unaligned address"));
    std::memset(shared, 0xff, bytes);
    async_copies().open.push_back({shared, global, bytes, present});
}

}  // namespace emulated

inline void mma_m16n8k8(float (&d)[4], uint32_t a0, uint32_t a1, uint32_t b0) {
    emulated::mma<fp16, 8>("mma_m16n8k8", d, {a0, a1}, {b0});
}

template <class T>
void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    emulated::mma<T, 16>("mma_m16n8k16", d, std::to_array(a), {b0, b1});
}

inline void mma_m16n8k32_s8(int32_t (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    emulated::mma<int8_t, 32>("mma_m16n8k32_s8", d, std::to_array(a), {b0, b1});
}

inline void ldmatrix_x4(uint32_t (&r)[4], const void* row) {
    emulated::ldmatrix<4, false>("ldmatrix_x4", r, row);
}
inline void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row) {
    emulated::ldmatrix<4, true>("ldmatrix_x4_trans", r, row);
}
inline void ldmatrix_x2(uint32_t (&r)[2], const void* row) {
    emulated::ldmatrix<2, false>("ldmatrix_x2", r, row);
}
inline void ldmatrix_x2_trans(uint32_t (&r)[2], const void* row) {
    emulated::ldmatrix<2, true>("ldmatrix_x2_trans", r, row);
}

inline void cp_async_16(void* shared, const void* global, bool present = true) {
    emulated::cp_async(shared, global, 16, present ? 16 : 0);
}
inline void cp_async_first(void* shared, const void* global, int bytes) {
    emulated::cp_async(shared, global, 16, bytes);
}
inline void cp_async_4(void* shared, const void* global, bool present = true) {
    emulated::cp_async(shared, global, 4, present ? 4 : 0);
}

inline void cp_async_commit() {
    emulated::AsyncCopies& copies = emulated::async_copies();
    copies.groups.push_back(std::move(copies.open));
    copies.open.clear();
}

template <int kNewestGroups>
void cp_async_wait() {
    auto& groups = emulated::async_copies().groups;
    emulated::Landings& landings = emulated::landings();
    for (; groups.size() > kNewestGroups; groups.pop_front()) {
        for (const emulated::AsyncCopy& copy : groups.front()) {
            std::memset(copy.to, 0, copy.bytes);
            std::memcpy(copy.to, copy.from, copy.present);
            landings.last[reinterpret_cast<uintptr_t>(copy.to) / 16] = {emulated::thread_of_block(), ++landings.time};
        }
    }
}

#endif  // LLMC_EMULATED

}  // namespace cuda
