#include "llmc/comm/heartbeat.h"

#ifdef LLMC_MPI

#include <algorithm>
#include <chrono>
#include <exception>
#include <numeric>
#include <utility>

#include "llmc/core/error.h"

namespace llmc {
namespace {

constexpr double kLongestPause = 1;  // seconds between two beats
constexpr double kBeatsInLimit = 8;
constexpr double kSecondsToEnd = 2, kMostPatience = 8;
constexpr char kBeat = 1, kLast = 2;

void check(int status, const char* what) {
    require(status == MPI_SUCCESS, "MPI: ", what, " failed (status ", status, ")");
}

}  // namespace

Heartbeat::Heartbeat(MPI_Comm comm, double limit, std::function<void(int rank, const char* error)> lost)
    : comm_(comm), limit_(limit), pause_(std::min(kLongestPause, limit / kBeatsInLimit)), lost_(std::move(lost)) {
    int rank = 0, size = 0;
    check(MPI_Comm_rank(comm_, &rank), "asking for the rank");
    check(MPI_Comm_size(comm_, &size), "asking for the number of ranks");
    if (rank == 0) {
        others_.resize(static_cast<size_t>(size - 1));
        std::iota(others_.begin(), others_.end(), 1);
    } else {
        others_ = {0};
        // The higher the rank the longer it waits, so that the lowest living rank reports and ends the others.
        limit_ += std::min(kSecondsToEnd * (rank - 1), kMostPatience);
    }
    silence_.assign(static_cast<size_t>(size), AwakeTime(limit));
    thread_ = std::thread([this] { watch(); });
}

Heartbeat::~Heartbeat() {
    {
        std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    stop_.notify_one();
    thread_.join();
    try {
        // MPI requires every message to be received: take what the others sent before they stopped.
        send(kLast);
        AwakeTime waiting(limit_);
        while (n_last_ < others_.size() && waiting.seconds() < limit_) {
            listen();
            std::this_thread::yield();
        }
        check(MPI_Comm_free(&comm_), "releasing the heartbeats' communicator");
    } catch (const std::exception& error) {
        lost_(-1, error.what());
    }
}

// Does not wait for the beat to arrive: a stopped process receives none.
void Heartbeat::send(const char& beat) {
    for (const int rank : others_) {
        MPI_Request request = MPI_REQUEST_NULL;
        check(MPI_Isend(&beat, 1, MPI_CHAR, rank, 0, comm_, &request), "sending a heartbeat");
        check(MPI_Request_free(&request), "sending a heartbeat");
    }
}

void Heartbeat::listen() {
    for (int found = 1; found;) {
        MPI_Status status;
        check(MPI_Iprobe(MPI_ANY_SOURCE, 0, comm_, &found, &status), "receiving a heartbeat");
        if (!found) return;
        char beat = 0;
        check(MPI_Recv(&beat, 1, MPI_CHAR, status.MPI_SOURCE, 0, comm_, MPI_STATUS_IGNORE), "receiving a heartbeat");
        silence_[static_cast<size_t>(status.MPI_SOURCE)] = AwakeTime(limit_);
        n_last_ += beat == kLast;
    }
}

void Heartbeat::watch() {
    try {
        std::unique_lock lock(mutex_);
        while (!stopping_) {
            send(kBeat);
            stop_.wait_for(lock, std::chrono::duration<double>(pause_));
            listen();
            if (n_last_ > 0) continue;  // a rank that has finished is silent from now on
            for (const int rank : others_)
                if (!stopping_ && silence_[static_cast<size_t>(rank)].seconds() > limit_) return lost_(rank, nullptr);
        }
    } catch (const std::exception& error) {
        lost_(-1, error.what());
    }
}

}  // namespace llmc

#endif
