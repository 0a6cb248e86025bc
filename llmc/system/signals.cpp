#include "llmc/system/signals.h"

#include <omp.h>
#include <pthread.h>
#include <unistd.h>

namespace llmc {
namespace {

constexpr int kStoppedBySignal = 130;
volatile std::sig_atomic_t stop_requested = 0;

// More than the registers of any processor take, AMX's included.
alignas(64) char handler_stack[64 * 1024];

template <size_t kSize>
void tell(const char (&text)[kSize]) {
    if (isatty(STDERR_FILENO)) (void)!write(STDERR_FILENO, text, kSize - 1);
}

// Makes only async-signal-safe calls.
void on_signal(int signal) {
    if (signal == SIGINT && stop_requested) {
        tell("\nstopped at once; what was saved before remains\n");
        _exit(kStoppedBySignal);
    }
    if (!stop_requested) tell("\nstopping as soon as possible; press Ctrl-C again to stop at once\n");
    stop_requested = 1;
}

}  // namespace

StopSignals::StopSignals() {
    stop_requested = 0;
    sigaltstack(nullptr, &previous_stack_);
    if (previous_stack_.ss_flags & SS_DISABLE) {  // a sanitizer has one already
        stack_t own{};
        own.ss_sp = handler_stack;
        own.ss_size = sizeof handler_stack;
        sigaltstack(&own, nullptr);
    }
    sigset_t signals;
    sigemptyset(&signals);
    for (const int signal : kSignals) sigaddset(&signals, signal);
#pragma omp parallel
    if (omp_get_thread_num() != 0) pthread_sigmask(SIG_BLOCK, &signals, nullptr);

    struct sigaction action {};
    action.sa_handler = on_signal;
    action.sa_flags = SA_ONSTACK | SA_RESTART;  // a write that the signal interrupts is resumed
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < kSignals.size(); ++i) {
        sigaction(kSignals[i], &action, &previous_[i]);
        if (kSignals[i] == SIGHUP && previous_[i].sa_handler == SIG_IGN) sigaction(SIGHUP, &previous_[i], nullptr);
    }
}

StopSignals::~StopSignals() {
    for (size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &previous_[i], nullptr);
    if (previous_stack_.ss_flags & SS_DISABLE) sigaltstack(&previous_stack_, nullptr);
}

bool StopSignals::requested() const {
    return stop_requested != 0;
}

void ignore_broken_pipes() {
    std::signal(SIGPIPE, SIG_IGN);
}

}  // namespace llmc
