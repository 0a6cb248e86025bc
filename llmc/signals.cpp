#include "llmc/signals.h"

#include <unistd.h>

namespace llmc {
namespace {

constexpr int kStoppedBySignal = 130;
volatile std::sig_atomic_t stop_requested = 0;

// Only async-signal-safe calls in here.
void on_signal(int signal) {
    if (signal == SIGINT && stop_requested) _exit(kStoppedBySignal);
    stop_requested = 1;
}

}  // namespace

StopSignals::StopSignals() {
    stop_requested = 0;
    struct sigaction action {};
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;  // a write that the signal interrupts is carried on, not failed
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, &previous_interrupt_);
    sigaction(SIGTERM, &action, &previous_terminate_);
    sigaction(SIGHUP, &action, &previous_hang_up_);
    sigaction(SIGUSR1, &action, &previous_user_);
    if (previous_hang_up_.sa_handler == SIG_IGN) sigaction(SIGHUP, &previous_hang_up_, nullptr);
}

StopSignals::~StopSignals() {
    sigaction(SIGINT, &previous_interrupt_, nullptr);
    sigaction(SIGTERM, &previous_terminate_, nullptr);
    sigaction(SIGHUP, &previous_hang_up_, nullptr);
    sigaction(SIGUSR1, &previous_user_, nullptr);
}

bool StopSignals::requested() const {
    return stop_requested != 0;
}

void ignore_broken_pipes() {
    std::signal(SIGPIPE, SIG_IGN);
}

}  // namespace llmc
