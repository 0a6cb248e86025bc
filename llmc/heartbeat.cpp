#include "llmc/heartbeat.h"

#ifdef LLMC_MPI

#include <algorithm>
#include <chrono>
#include <exception>
#include <numeric>
#include <utility>

#include "llmc/error.h"

namespace llmc {
namespace {

constexpr double kLongestPause = 1;  // second between two beats
constexpr double kBeatsInLimit = 8;
constexpr double kSecondsToEnd = 2, kMostPatience = 8;
constexpr char kBeat = 1;

void check(int status, const char* what) {
    require(status == MPI_SUCCESS, "MPI: ", what, " failed (status ", status, ")");
}

}  // namespace

Heartbeat::Heartbeat(MPI_Comm comm, double limit, std::function<void(int rank, const char* error)> lost)
    : comm_(comm), limit_(limit), lost_(std::move(lost)) {
    int rank = 0, size = 0;
    check(MPI_Comm_rank(comm_, &rank), "asking for the rank");
    check(MPI_Comm_size(comm_, &size), "asking for the number of ranks");
    if (rank == 0) {
        others_.resize(static_cast<size_t>(size - 1));
        std::iota(others_.begin(), others_.end(), 1);
    } else {
        others_ = {0};
        // So that the lowest of those that live speaks and has ended the others before they do.
        limit_ += std::min(kSecondsToEnd * (rank - 1), kMostPatience);
    }
    silence_.resize(static_cast<size_t>(size));
    thread_ = std::thread([this] { watch(); });
}

Heartbeat::~Heartbeat() {
    {
        std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    stop_.notify_one();
    thread_.join();
    int found = 1;  // beats that came after the last look; MPI wants them taken
    while (found && MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, comm_, &found, MPI_STATUS_IGNORE) == MPI_SUCCESS)
        if (found) {
            char beat;
            MPI_Recv(&beat, 1, MPI_CHAR, MPI_ANY_SOURCE, MPI_ANY_TAG, comm_, MPI_STATUS_IGNORE);
        }
    MPI_Comm_free(&comm_);
}

// Nobody waits for a beat to arrive: who was stopped does not take any.
void Heartbeat::beat() {
    for (const int rank : others_) {
        MPI_Request request = MPI_REQUEST_NULL;
        check(MPI_Isend(&kBeat, 1, MPI_CHAR, rank, 0, comm_, &request), "a heartbeat");
        check(MPI_Request_free(&request), "a heartbeat");
    }
}

void Heartbeat::listen() {
    for (int found = 1; found;) {
        MPI_Status status;
        check(MPI_Iprobe(MPI_ANY_SOURCE, 0, comm_, &found, &status), "a heartbeat");
        if (!found) return;
        char beat = 0;
        check(MPI_Recv(&beat, 1, MPI_CHAR, status.MPI_SOURCE, 0, comm_, MPI_STATUS_IGNORE), "a heartbeat");
        silence_[static_cast<size_t>(status.MPI_SOURCE)] = {};
    }
}

void Heartbeat::watch() {
    const double pause = std::min(kLongestPause, limit_ / kBeatsInLimit);
    try {
        std::unique_lock lock(mutex_);
        while (!stopping_) {
            beat();
            stop_.wait_for(lock, std::chrono::duration<double>(pause));
            listen();
            for (const int rank : others_)
                if (!stopping_ && silence_[static_cast<size_t>(rank)].seconds() > limit_) return lost_(rank, nullptr);
        }
    } catch (const std::exception& error) {
        lost_(-1, error.what());
    }
}

}  // namespace llmc

#endif
