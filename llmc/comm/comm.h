// How the processes of a run, its ranks, talk to each other.
//
//   a single process    nobody to talk to: every function returns at once
//   MPI                 processors, and GPUs whose values are staged through the host's memory (mpi_comm.cpp)
//   NCCL                GPUs, with MPI to find each other (cuda/nccl_comm.h)
//
// Values that a training step reduces lie in the memory of the device that computes them; everything else is small and
// lies in the host's. All ranks call the same functions in the same order. What a reduction gives is the same bits on
// every rank, and the same bits again in every run of as many ranks: sums are taken in a fixed order.
//
// A rank that fails ends the others too, by fail_all() or by dying; one that does not answer within the time limit is
// named by the ones that waited for it, and one whose process has stopped by the heartbeat (heartbeat.h), whatever the
// others do meanwhile.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace llmc {

// The time limit until somebody sets one: starting a GPU's driver takes a while.
inline constexpr double kMeetingSeconds = 120;

// What reductions of device values have cost this rank.
struct Traffic {
    int64_t bytes = 0;   // sent
    double seconds = 0;  // from the call until the result was there, waiting for the other ranks included
};

class Comm {
  public:
    virtual ~Comm() = default;

    int rank() const { return rank_; }
    int size() const { return size_; }
    bool is_first() const { return rank_ == 0; }
    // Among the ranks of this host.
    int local_rank() const { return local_rank_; }
    int local_size() const { return local_size_; }
    const std::string& host() const { return host_; }
    // "rank 1 of 4 on gpu-node-7"
    std::string name() const;

    // ---- values of the device ----

    // values = the maximum over all ranks; later work on the device sees it.
    virtual void all_reduce_max(std::span<float> values) = 0;
    // values = the sum over all ranks once finish_sums() has returned; nobody touches them in between. Several may be
    // under way.
    virtual void start_sum(std::span<float> values) = 0;
    virtual void finish_sums() = 0;
    // Of the device values so far.
    virtual Traffic traffic() = 0;

    // ---- values of the host ----

    virtual void sum(std::span<double> values) = 0;
    virtual void sum(std::span<int64_t> values) = 0;
    virtual void max(std::span<float> values) = 0;
    // values = those of rank 0.
    virtual void broadcast(std::span<std::byte> values) = 0;
    // On rank 0 everybody's, by rank; nothing elsewhere.
    virtual std::vector<std::string> gather(const std::string& mine) = 0;
    // Returns once all ranks have called it.
    virtual void barrier() = 0;

    // Whether any rank says so.
    bool any(bool mine) {
        int64_t count = mine;
        sum(std::span(&count, 1));
        return count > 0;
    }
    // Rank 0's text.
    void broadcast(std::string& text);

    // ---- faults ----

    // A rank may be this much later than another before it counts as lost; 0: as much as it likes.
    virtual void set_time_limit(double seconds) = 0;
    // From now on a rank whose process gives no sign of life for this long counts as lost. All ranks call it, once.
    virtual void start_heartbeat(double limit) = 0;
    // Ends all ranks with this exit status. The message, which reaches stderr with the rank's name in front, is told
    // once where all ranks have the same fault. Any thread may call it, while the communicator lives.
    [[noreturn]] virtual void fail_all(const std::string& message, int status) = 0;

  protected:
    int rank_ = 0, size_ = 1, local_rank_ = 0, local_size_ = 1;
    std::string host_;
};

// For whoever runs alone.
Comm& single_process();

// The ranks of the launcher (mpirun, srun) that started this process, or null where none did. Throws Error where one
// did and there is no reaching the others.
std::unique_ptr<Comm> join_ranks();

// How many processes a launcher says it started, from the marks it leaves in the environment: OpenMPI's, PMIx's and
// PMI's, Slurm's. 0: no launcher; -1: there is one, which does not say.
int processes_of_launcher();

// Whether thing number `index` is this rank's: they are dealt out in turn.
inline bool is_mine(const Comm& comm, int64_t index) {
    return index % comm.size() == comm.rank();
}

}  // namespace llmc
