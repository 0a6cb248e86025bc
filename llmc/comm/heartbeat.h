// Whether the processes of the other ranks still live, whatever they are busy with: one that was stopped, or whose host
// is down, is found while it reads a model or evaluates, where nobody knows how long it may take.
//
// Every rank has a thread that sends a beat to rank 0 several times a limit; rank 0's sends one to each of them. Who
// hears nothing from the other side for the limit has lost it; of those that miss rank 0 a low one speaks.
//
// A process that lives and does not get on is not found here: collectives have time limits for that (mpi_comm.h).
#pragma once

#ifdef LLMC_MPI

#include <mpi.h>

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "llmc/system/awake_time.h"

namespace llmc {

class Heartbeat {
  public:
    // Begins on all ranks of `comm`, on which nothing else is sent; it takes the communicator over. Other threads go on
    // calling MPI, which has to allow that (MPI_THREAD_MULTIPLE). `lost` is called at most once, on the thread of the
    // heartbeat, with the rank that was silent for `limit` seconds, or with what has gone wrong and rank -1.
    Heartbeat(MPI_Comm comm, double limit, std::function<void(int rank, const char* error)> lost);
    // Stops this rank's beats, together with the others: it waits for their last.
    ~Heartbeat();
    Heartbeat(const Heartbeat&) = delete;
    Heartbeat& operator=(const Heartbeat&) = delete;

  private:
    // `beat` outlives the message.
    void send(const char& beat);
    // Takes what the others have sent; their silence is over.
    void listen();
    void watch();

    MPI_Comm comm_;
    double limit_, pause_;
    std::function<void(int, const char*)> lost_;
    std::vector<int> others_;         // whom this rank talks to
    std::vector<AwakeTime> silence_;  // since the last beat, by rank
    std::mutex mutex_;
    std::condition_variable stop_;
    bool stopping_ = false;
    size_t n_last_ = 0;  // others that have sent their last beat
    std::thread thread_;
};

}  // namespace llmc

#endif
