#include "llmc/core/program.h"

namespace llmc {
namespace {

constinit Program current;

}  // namespace

const Program& program() {
    return current;
}

void set_program(const Program& program) {
    current = program;
}

}  // namespace llmc
