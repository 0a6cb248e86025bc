// A fibre: a stack and the point where its computation continues. Switching is a function call that returns on another
// stack, some ten instructions on x86-64, so that a block of a thousand CUDA threads can meet at a barrier a thousand
// times without the operating system.
//
// A fibre stays on the OS thread that started it. The stack that a computation already runs on is a fibre, too: a
// default-constructed Fibre becomes it by switching away.
#pragma once

#include <cstddef>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace emu {

class Fibre {
  public:
    Fibre() = default;
    Fibre(const Fibre&) = delete;
    Fibre& operator=(const Fibre&) = delete;
    ~Fibre();

    // The next switch to this fibre calls body(argument) on the fibre's own stack; whatever the fibre did before is
    // forgotten. `body` never returns: its last act is to leave for good.
    void start(void (*body)(void*), void* argument);
    // Continues with `next` until somebody switches back to this fibre, the running one.
    void switch_to(Fibre& next);
    // The same for a fibre that is done.
    [[noreturn]] void leave_for_good(Fibre& next);

  private:
    static void enter();
    void switch_stack(Fibre& next, bool for_good);

    void (*body_)(void*) = nullptr;
    void* argument_ = nullptr;
    bool alive_ = false;       // started, and has not left for good
    char* mapping_ = nullptr;  // a guard page and the stack above it; null for the stack of an OS thread
#if defined(__x86_64__)
    void* stack_pointer_ = nullptr;
#else
    ucontext_t context_;
#endif
    // What AddressSanitizer needs to know of every stack: where it lies, and its shadow of locals out of scope.
    const void* stack_bottom_ = nullptr;
    size_t stack_size_ = 0;
    void* fake_stack_ = nullptr;
};

}  // namespace emu
