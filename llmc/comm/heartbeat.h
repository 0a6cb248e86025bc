// Finds ranks whose process was stopped or whose host is down, whatever they were doing: loading a model or evaluating
// may take any time, so that no time limit finds them there.
//
// Every rank has a thread that sends a beat to rank 0 several times per limit; rank 0's thread sends one to each of
// them. A side that hears nothing from the other within the limit reports it as lost. If rank 0 is lost, the lowest
// other rank reports it.
//
// A process that runs but makes no progress is not found here: collectives have time limits for that (mpi_comm.h).
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
    // Starts on all ranks of `comm`, which carries nothing else, and takes it over. Other threads go on calling MPI,
    // which must provide MPI_THREAD_MULTIPLE. `lost` is called at most once, on the heartbeat's thread, with the rank
    // that was silent for `limit` seconds, or with rank -1 and what went wrong.
    Heartbeat(MPI_Comm comm, double limit, std::function<void(int rank, const char* error)> lost);
    // Stops this rank's beats and waits for the last beats of the others.
    ~Heartbeat();
    Heartbeat(const Heartbeat&) = delete;
    Heartbeat& operator=(const Heartbeat&) = delete;

  private:
    // `beat` must outlive the message.
    void send(const char& beat);
    // Receives what the others have sent and ends their silence.
    void listen();
    void watch();

    MPI_Comm comm_;
    double limit_, pause_;
    std::function<void(int, const char*)> lost_;
    std::vector<int> others_;         // the ranks this one exchanges beats with
    std::vector<AwakeTime> silence_;  // since the last beat, by rank
    std::mutex mutex_;
    std::condition_variable stop_;
    bool stopping_ = false;
    size_t n_last_ = 0;  // others that have sent their last beat
    std::thread thread_;
};

}  // namespace llmc

#endif
