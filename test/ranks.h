// The ranks of a test: those of mpirun where it was started by that (`make test-mpi`), and else this process alone.
// Tests that are tagged [ranks] hold for any number of them.
#pragma once

#include "llmc/comm.h"

namespace test {

inline llmc::Comm& ranks() {
    static const std::unique_ptr<llmc::Comm> joined = llmc::join_ranks();
    llmc::Comm& comm = joined ? *joined : llmc::single_process();
    comm.set_time_limit(60);  // a rank whose test failed shall not keep the others waiting for ever
    return comm;
}

}  // namespace test
