#include "test/emu/fibre.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <new>
#include <utility>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#else
#define ASAN_UNPOISON_MEMORY_REGION(address, size)
#endif

#if defined(__x86_64__)
// Saves the callee-saved registers of the System V ABI on the old stack and restores them from the new one.
extern "C" void emu_switch_stack(void** old_stack_pointer, void* new_stack_pointer);
asm(R"(
.text
.type emu_switch_stack, @function
emu_switch_stack:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size emu_switch_stack, . - emu_switch_stack
)");
#endif

namespace emu {
namespace {

constexpr size_t kGuardBytes = 4096;
// Kernels keep their tiles in registers, so frames are small; the sanitizers put a redzone around every local.
#if defined(__SANITIZE_ADDRESS__)
constexpr size_t kStackBytes = 256 << 10;
#else
constexpr size_t kStackBytes = 64 << 10;
#endif

// Stacks begin in different cache lines of their pages: a cache keeps only a few lines of equal page offset.
constexpr size_t kColour = 128, kColours = 31;
thread_local size_t fibres_made = 0;

// From the start of a switch to its end on the other stack: who leaves, and who arrives.
thread_local Fibre* leaving = nullptr;
thread_local Fibre* arriving = nullptr;

}  // namespace

Fibre::~Fibre() {
    if (!mapping_) return;
    ASAN_UNPOISON_MEMORY_REGION(stack_bottom_, stack_size_);  // for whoever gets these pages next
    munmap(mapping_, kGuardBytes + kStackBytes);
}

void Fibre::start(void (*body)(void*), void* argument) {
    body_ = body;
    argument_ = argument;
    fake_stack_ = nullptr;
    if (!mapping_) {
        void* memory = mmap(nullptr, kGuardBytes + kStackBytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED || mprotect(memory, kGuardBytes, PROT_NONE) != 0) throw std::bad_alloc();
        mapping_ = static_cast<char*>(memory);
        stack_bottom_ = mapping_ + kGuardBytes;
        stack_size_ = kStackBytes - kColour * (fibres_made++ % kColours);
    }
    if (std::exchange(alive_, true)) {
        ASAN_UNPOISON_MEMORY_REGION(stack_bottom_, stack_size_);  // the calls it was in never returned
    }
#if defined(__x86_64__)
    // A stack as emu_switch_stack leaves it: six registers and a return address; above it the null one of enter()
    // itself, where the ABI wants the stack pointer 8 past a multiple of 16.
    auto** top = reinterpret_cast<void**>(mapping_ + kGuardBytes + stack_size_) - 1;
    top[0] = nullptr;
    top[-1] = reinterpret_cast<void*>(&Fibre::enter);
    for (int i = 2; i <= 7; i++) top[-i] = nullptr;
    stack_pointer_ = top - 7;
#else
    getcontext(&context_);
    context_.uc_stack.ss_sp = mapping_ + kGuardBytes;
    context_.uc_stack.ss_size = stack_size_;
    context_.uc_link = nullptr;
    makecontext(&context_, &Fibre::enter, 0);
#endif
}

void Fibre::switch_to(Fibre& next) {
    switch_stack(next, false);
}

void Fibre::leave_for_good(Fibre& next) {
    alive_ = false;
    switch_stack(next, true);
    std::abort();  // somebody switched to a fibre that had left
}

void Fibre::switch_stack(Fibre& next, [[maybe_unused]] bool for_good) {
    leaving = this;
    arriving = &next;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(for_good ? nullptr : &fake_stack_, next.stack_bottom_, next.stack_size_);
#endif
#if defined(__x86_64__)
    emu_switch_stack(&stack_pointer_, next.stack_pointer_);
#else
    swapcontext(&context_, &next.context_);
#endif
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fake_stack_, nullptr, nullptr);
#endif
}

void Fibre::enter() {
#if defined(__SANITIZE_ADDRESS__)
    const void* bottom = nullptr;
    size_t size = 0;
    __sanitizer_finish_switch_fiber(nullptr, &bottom, &size);
    leaving->stack_bottom_ = bottom;
    leaving->stack_size_ = size;
#endif
    Fibre* self = arriving;
    self->body_(self->argument_);
    std::abort();  // body_ never returns
}

}  // namespace emu
