// The test runner. Catch2 2 is compiled here, Catch2 3 is a library.
#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_session.hpp>
#else
#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>
#endif

#include "llmc/system/thread_waiting.h"
#include "quaff/cli/program.h"

int main(int argc, char** argv) {
    llmc::restart_with_passive_waiting(argv);
    llmc::set_program(quaff::kProgram);
    return Catch::Session().run(argc, argv);
}
