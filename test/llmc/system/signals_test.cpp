#include "llmc/system/signals.h"

#include <omp.h>

#include <csignal>

#include "test/catch.h"

using llmc::StopSignals;

TEST_CASE("a signal asks for a stop, and the old handler comes back", "[signals]") {
    const int signal = GENERATE(SIGINT, SIGTERM, SIGHUP, SIGUSR1);
    const auto outside = std::signal(signal, SIG_DFL);  // whoever started the tests may have SIGHUP ignored
    struct sigaction before {
    }, after{};
    sigaction(signal, nullptr, &before);
    {
        StopSignals signals;
        CHECK_FALSE(signals.requested());
        raise(signal);
        CHECK(signals.requested());
    }
    sigaction(signal, nullptr, &after);
    CHECK(after.sa_handler == before.sa_handler);
    {
        StopSignals again;
        CHECK_FALSE(again.requested());
    }
    std::signal(signal, outside);
}

// oneDNN's kernels keep their stack pointer in the heap: a handler below it would overwrite other allocations.
TEST_CASE("a signal's handler does not run on the stack of what it interrupts", "[signals]") {
    const StopSignals signals;
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGUSR1}) {
        struct sigaction action {};
        sigaction(signal, nullptr, &action);
        CHECK(((action.sa_flags & SA_ONSTACK) != 0 || action.sa_handler == SIG_IGN));
    }
    stack_t stack{};
    sigaltstack(nullptr, &stack);
    CHECK((stack.ss_flags & SS_DISABLE) == 0);
    CHECK(stack.ss_size >= 32 * 1024);
    int unblocked = 0;  // in other threads than this one
#pragma omp parallel reduction(+ : unblocked)
    {
        sigset_t blocked;
        pthread_sigmask(SIG_BLOCK, nullptr, &blocked);
        for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGUSR1})
            unblocked += omp_get_thread_num() != 0 && sigismember(&blocked, signal) == 0;
    }
    CHECK(unblocked == 0);
}

TEST_CASE("SIGHUP stays ignored where it was: nohup", "[signals]") {
    const auto before = std::signal(SIGHUP, SIG_IGN);
    {
        StopSignals signals;
        raise(SIGHUP);
        CHECK_FALSE(signals.requested());
    }
    CHECK(std::signal(SIGHUP, before) == SIG_IGN);
}
