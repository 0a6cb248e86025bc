// Ranks that communicate through MPI, for values in host memory.
//
// A sum takes two steps of n/P values for every pair of ranks. Each of P ranks sends 2 n (P-1)/P in all, the least
// possible:
//
//   alltoall     rank k receives part k of everybody's values and adds them in the order of the ranks
//   allgather    everybody receives the sums of all parts
//
// MPI_Allreduce may choose its order by size and topology; here the order is part of what a run computes.
#pragma once

#include <atomic>
#include <thread>

#include "llmc/comm/comm.h"

namespace llmc {

class Heartbeat;

class MpiComm final : public Comm {
  public:
    // Starts MPI. Only one may exist at a time.
    MpiComm();
    // Ends MPI, together with all other ranks.
    ~MpiComm() override;
    MpiComm(const MpiComm&) = delete;
    MpiComm& operator=(const MpiComm&) = delete;

    void all_reduce_max(std::span<float> values) override;
    // The sum is complete when it returns.
    void start_sum(std::span<float> values) override;
    void finish_sums() override {}
    Traffic traffic() override { return traffic_; }
    void sum(std::span<double> values) override;
    void sum(std::span<int64_t> values) override;
    void max(std::span<float> values) override;
    void broadcast(std::span<std::byte> values) override;
    std::vector<std::string> gather(const std::string& mine) override;
    void barrier() override;
    void set_time_limit(double seconds) override { time_limit_ = seconds; }
    void start_heartbeat(double limit) override;
    [[noreturn]] void fail_all(const std::string& message, int status) override;

  private:
    struct Parts;  // how values are divided among the ranks

    // Runs a collective and waits for it, at most for the time limit. `start` begins it and returns MPI's status.
    template <class Start>
    void run(const char* what, const Start& start);
    // The names of the ranks that no longer answer.
    std::string lost_ranks();
    // Answers a rank that calls the roll. Returns the rank that called or answered, or -1.
    int answer_roll_call();

    std::thread::id thread_ = std::this_thread::get_id();  // the thread that started MPI
    bool any_thread_ = false;                              // whether other threads may call MPI, too
    std::atomic_flag failing_;
    double time_limit_ = kMeetingSeconds;
    Traffic traffic_;
    std::vector<float> received_;
    std::vector<std::string> names_;  // of all ranks
    std::unique_ptr<Heartbeat> heartbeat_;
};

}  // namespace llmc
