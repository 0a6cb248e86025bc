#include "llmc/core/program.h"

namespace llmc {
namespace {

constinit ProgramWords current;

}  // namespace

const ProgramWords& program() {
    return current;
}

void set_program(const ProgramWords& program) {
    current = program;
}

}  // namespace llmc
