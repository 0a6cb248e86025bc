// How the ranks of a run, one process each, communicate.
//
//   single process      nothing to exchange: every function returns at once
//   MPI                 CPUs, and GPUs whose values are staged through host memory (mpi_comm.h)
//   NCCL                GPUs, which find each other through MPI (cuda/runtime/nccl_comm.h)
//
// Values that a training step reduces lie in the memory of the device that computes them; all else is small and lies in
// host memory. All ranks call the same functions in the same order. A reduction gives the same bits on every rank, and
// in every run with as many ranks: sums are taken in a fixed order.
//
// A rank that fails ends the others, by fail_all() or by dying. A rank that does not answer within the time limit is
// named by those that waited for it. The heartbeat (heartbeat.h) finds a rank whose process has stopped, whatever it or
// the others are doing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace llmc {

// The time limit until another is set: starting a GPU's driver takes a while.
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
    // values = the sum over all ranks once finish_sums() has returned; do not touch them before. Several sums may be
    // under way.
    virtual void start_sum(std::span<float> values) = 0;
    virtual void finish_sums() = 0;
    // What all_reduce_max() and the sums have cost so far.
    virtual Traffic traffic() = 0;

    // ---- values of the host ----

    virtual void sum(std::span<double> values) = 0;
    virtual void sum(std::span<int64_t> values) = 0;
    virtual void max(std::span<float> values) = 0;
    // values = those of rank 0.
    virtual void broadcast(std::span<std::byte> values) = 0;
    // The texts of all ranks, in order, on rank 0; nothing elsewhere.
    virtual std::vector<std::string> gather(const std::string& mine) = 0;
    // Returns once all ranks have called it.
    virtual void barrier() = 0;

    // Whether any rank passes true.
    bool any(bool mine) {
        int64_t count = mine;
        sum(std::span(&count, 1));
        return count > 0;
    }
    // text = rank 0's.
    void broadcast(std::string& text);

    // ---- faults ----

    // How much later than the others a rank may be before it counts as lost; 0: no limit.
    virtual void set_time_limit(double seconds) = 0;
    // From now on a rank whose process sends no heartbeat for `limit` seconds counts as lost. All ranks call it, once.
    virtual void start_heartbeat(double limit) = 0;
    // Ends all ranks with this exit status. Writes the rank's name and the message to stderr, only once if all ranks
    // have the same fault. Any thread may call it while the communicator lives.
    [[noreturn]] virtual void fail_all(const std::string& message, int status) = 0;

  protected:
    int rank_ = 0, size_ = 1, local_rank_ = 0, local_size_ = 1;
    std::string host_;
};

// The communicator of a run with one process.
Comm& single_process();

// The ranks that a launcher (mpirun, srun) started, or null if none started this process. Throws Error if one did but
// the ranks cannot reach each other.
std::unique_ptr<Comm> join_ranks();

// How many processes the launcher says it started, in the environment variables of OpenMPI, PMIx, PMI and Slurm. 0: no
// launcher; -1: there is one, but it does not say.
int processes_of_launcher();

// Whether item `index` belongs to this rank: items are dealt out in turn.
inline bool is_mine(const Comm& comm, int64_t index) {
    return index % comm.size() == comm.rank();
}

}  // namespace llmc
