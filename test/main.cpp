// The test runner. Catch2 2 is compiled here, Catch2 3 is a library.
#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_session.hpp>
#else
#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>
#endif

#include "llmc/system/thread_waiting.h"
#include "quaff/cli/program.h"
#include "quaff/cli/verbs.h"

// train_quaff's own main(), where tests of the whole program are part of this one (program_test.cpp).
[[gnu::weak]] int train_quaff_main(int argc, char** argv);

// LeakSanitizer asks what is not ours to free: clang's OpenMP keeps its table of threads to the end.
extern "C" const char* __lsan_default_suppressions() {
    return "leak:libomp.so";
}

int main(int argc, char** argv) {
    // A comparison starts its own program again, which is this one while it is tested.
    if (argc > 2 && train_quaff_main && quaff::cli::is_verb(argv[1])) return train_quaff_main(argc, argv);
    llmc::restart_with_passive_waiting(argv);
    llmc::set_program(quaff::kProgram);
    return Catch::Session().run(argc, argv);
}
