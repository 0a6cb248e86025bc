// The ranks of a test: those of mpirun where it was started by that (`make test-mpi`), and else this process alone.
// Tests that are tagged [ranks] hold for any number of them.
#pragma once

#include <pthread.h>

#include <future>
#include <string>
#include <vector>

#include "llmc/comm/comm.h"

namespace test {

inline llmc::Comm& ranks() {
    static const std::unique_ptr<llmc::Comm> joined = llmc::join_ranks();
    llmc::Comm& comm = joined ? *joined : llmc::single_process();
    comm.set_time_limit(60);  // a rank whose test failed shall not keep the others waiting for ever
    return comm;
}

// Ranks of a test that is told what the others only hear: the time limits that were set, how many sums were begun, and
// the fault that would have ended the run. A fault that a thread of its own finds ends that thread.
class Overheard final : public llmc::Comm {
  public:
    explicit Overheard(llmc::Comm& ranks) : ranks_(ranks) {
        rank_ = ranks.rank();
        size_ = ranks.size();
        local_rank_ = ranks.local_rank();
        local_size_ = ranks.local_size();
        host_ = ranks.host();
    }

    double limit = 0;
    int sums = 0;
    std::vector<double> limits_at_barriers;
    std::promise<std::string> fault;

    void all_reduce_max(std::span<float> values) override { ranks_.all_reduce_max(values); }
    void start_sum(std::span<float> values) override {
        ++sums;
        ranks_.start_sum(values);
    }
    void finish_sums() override { ranks_.finish_sums(); }
    llmc::Traffic traffic() override { return ranks_.traffic(); }
    void sum(std::span<double> values) override { ranks_.sum(values); }
    void sum(std::span<int64_t> values) override { ranks_.sum(values); }
    void max(std::span<float> values) override { ranks_.max(values); }
    void broadcast(std::span<std::byte> values) override { ranks_.broadcast(values); }
    std::vector<std::string> gather(const std::string& mine) override { return ranks_.gather(mine); }
    void barrier() override {
        limits_at_barriers.push_back(limit);
        ranks_.barrier();
    }
    void set_time_limit(double seconds) override { limit = seconds; }
    void start_heartbeat(double) override {}
    [[noreturn]] void fail_all(const std::string& message, int) override {
        fault.set_value(message);
        pthread_exit(nullptr);
    }

  private:
    llmc::Comm& ranks_;
};

}  // namespace test
