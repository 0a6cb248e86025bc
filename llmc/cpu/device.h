// cpu::Device: what the model is templated on to run on the host. Every operator takes one first, so that a call in the
// model, `rmsnorm_forward(device, ...)`, finds the operators of the right device by its argument alone.
#pragma once

#include <omp.h>
#include <sys/mman.h>

#include <string>

#include "llmc/comm/comm.h"
#include "llmc/core/error.h"
#include "llmc/core/tensor.h"
#include "llmc/system/memory_limits.h"

namespace cpu {

using namespace llmc;

class InputStaging;  // transfer.h

// How floats are multiplied: as they are, or rounded to bf16 (bf16_gemm.h). Sums and everything else are floats.
enum class Products { fp32, bf16 };

struct Device {
    using compute_t = float;  // activations, outlier rows, head
    using InputStaging = cpu::InputStaging;
    static constexpr const char* name = "cpu";
    static constexpr bool scales_loss = false;        // loss_scale.h
    static constexpr bool rehearses = false;          // no choices to time before the first step
    static constexpr bool keeps_stored_types = true;  // 16-bit weights are widened where they are used (half_matrix.h)

    int threads = omp_get_max_threads();
    Comm* comm = &single_process();  // the ranks that train together
    Products products = Products::fp32;
    bool bf16_gradients = false;  // the products of the backward pass are bf16 whatever the others are

    const char* compute_name() const { return products == Products::bf16 ? "bf16" : "fp32"; }
    // The same device with one thread, for code that every thread of a parallel region calls.
    Device alone() const {
        Device one = *this;
        one.threads = 1;
        return one;
    }
    // Zeroed, aligned pages, resident only once they are touched. Null if there is no memory.
    void* allocate(int64_t bytes) const {
        void* block =
            mmap(nullptr, static_cast<size_t>(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (block == MAP_FAILED) return nullptr;
        madvise(block, static_cast<size_t>(bytes),
                MADV_HUGEPAGE);  // a wish: fewer TLB misses where the kernel grants it
        return block;
    }
    void release(void* block, int64_t bytes) const { munmap(block, static_cast<size_t>(bytes)); }
    // For messages.
    std::string describe() const {
        return concat(threads, threads == 1 ? " thread" : " threads", " of this processor");
    }
    // Bytes that can still be allocated.
    int64_t available_memory() const { return llmc::available_memory(); }
    // The most bytes that this process has held.
    int64_t peak_memory() const { return peak_resident_memory(); }
};

// The device as the backward pass multiplies, as one that multiplies alike in both passes, and without rounded
// products. D: a Device, or what is made of one.
template <class D>
D for_gradients(D device) {
    if (device.bf16_gradients) device.products = Products::bf16;
    return device;
}
template <class D>
D with_one_type(D device) {
    device.bf16_gradients = false;
    return device;
}
template <class D>
D full_precision(D device) {
    device.products = Products::fp32;
    return with_one_type(device);
}

}  // namespace cpu
