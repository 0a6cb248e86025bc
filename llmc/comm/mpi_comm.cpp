// Compiled only where MPI is available; without it the program refuses to run as one of several ranks.
#include "llmc/comm/mpi_comm.h"

#ifdef LLMC_MPI

#include <mpi.h>
#include <sched.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <thread>

#include "llmc/comm/heartbeat.h"
#include "llmc/core/error.h"
#include "llmc/core/program.h"
#include "llmc/system/awake_time.h"

namespace llmc {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kSlice = size_t{1} << 22;  // values reduced at a time: bounds the buffer, and MPI's counts are ints
constexpr double kRollCallSeconds = 2;      // within which a living rank answers
constexpr int kRollCall = 1;                // tag of its messages
enum RollCall : char { kWhoIsThere, kHere };

double seconds_since(Clock::time_point begin) {
    return std::chrono::duration<double>(Clock::now() - begin).count();
}

void check(int status, const char* what) {
    if (status == MPI_SUCCESS) return;
    char text[MPI_MAX_ERROR_STRING] = "";
    int length = 0;
    MPI_Error_string(status, text, &length);
    fail("MPI: ", what, " failed: ", text);
}

// Part of a roll call: the other rank may not be there to receive it.
void say(RollCall what, int to) {
    static constexpr char words[] = {kWhoIsThere, kHere};  // outlive the message
    MPI_Request request = MPI_REQUEST_NULL;
    check(MPI_Isend(&words[what], 1, MPI_CHAR, to, kRollCall, MPI_COMM_WORLD, &request), "the roll call");
    MPI_Request_free(&request);
}

// Calls body(begin, count) for slices of at most kSlice of `count` values.
template <class Body>
void for_each_slice(size_t count, const Body& body) {
    for (size_t begin = 0; begin < count; begin += kSlice) body(begin, std::min(kSlice, count - begin));
}

template <class T>
void add_in_rank_order(std::span<T> values, std::span<const T> of_all_ranks) {
    for (size_t i = 0; i < values.size(); ++i) {
        T sum = of_all_ranks[i];
        for (size_t at = i + values.size(); at < of_all_ranks.size(); at += values.size()) sum += of_all_ranks[at];
        values[i] = sum;
    }
}

}  // namespace

// Part k of n values: those from k n / P on.
struct MpiComm::Parts {
    std::vector<int> counts, begins;

    Parts(size_t n, int ranks) {
        for (int k = 0; k < ranks; ++k) {
            begins.push_back(begin(n, k, ranks));
            counts.push_back(begin(n, k + 1, ranks) - begins.back());
        }
    }
    static int begin(size_t n, int k, int ranks) {
        return static_cast<int>(n * static_cast<size_t>(k) / static_cast<size_t>(ranks));
    }
};

MpiComm::MpiComm() {
    int provided = 0;
    // A thread that watches a GPU may have to end the run.
    check(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &provided), "the start");
    any_thread_ = provided >= MPI_THREAD_MULTIPLE;
    check(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "choosing how errors are reported");
    check(MPI_Comm_rank(MPI_COMM_WORLD, &rank_), "asking for the rank");
    check(MPI_Comm_size(MPI_COMM_WORLD, &size_), "asking for the number of ranks");
    MPI_Comm host = MPI_COMM_NULL;
    check(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &host),
          "finding the ranks of this host");
    check(MPI_Comm_rank(host, &local_rank_), "asking for the rank on this host");
    check(MPI_Comm_size(host, &local_size_), "asking for the ranks on this host");
    check(MPI_Comm_free(&host), "releasing the ranks of this host");
    char name[MPI_MAX_PROCESSOR_NAME] = "";
    int length = 0;
    check(MPI_Get_processor_name(name, &length), "asking for the host's name");
    host_ = name;

    std::vector<char> names(static_cast<size_t>(size_) * sizeof name);
    run("exchanging the hosts' names", [&](MPI_Request* request) {
        return MPI_Iallgather(name, sizeof name, MPI_CHAR, names.data(), sizeof name, MPI_CHAR, MPI_COMM_WORLD,
                              request);
    });
    for (int r = 0; r < size_; ++r)
        names_.push_back(concat("rank ", r, " on ", names.data() + static_cast<size_t>(r) * sizeof name));
}

MpiComm::~MpiComm() {
    try {
        barrier();
        heartbeat_.reset();
    } catch (const std::exception& error) {
        fail_all(error.what(), EXIT_FAILURE);
    }
    MPI_Finalize();
}

// A waiting rank yields its core: there may be more ranks than cores.
template <class Start>
void MpiComm::run(const char* what, const Start& start) {
    MPI_Request request = MPI_REQUEST_NULL;
    check(start(&request), what);
    AwakeTime waiting(time_limit_);
    for (int done = 0; !done;) {
        check(MPI_Test(&request, &done, MPI_STATUS_IGNORE), what);
        if (done) break;
        answer_roll_call();
        sched_yield();
        if (const double waited = waiting.seconds(); time_limit_ > 0 && waited > time_limit_)
            fail(what, " has waited for more than ", std::lround(time_limit_), " seconds for ", lost_ranks(),
                 ". Is that host overloaded, or the network down? ", program().comm_timeout, " sets the limit");
    }
}

int MpiComm::answer_roll_call() {
    int found = 0;
    MPI_Status status;
    check(MPI_Iprobe(MPI_ANY_SOURCE, kRollCall, MPI_COMM_WORLD, &found, &status), "the roll call");
    if (!found) return -1;
    char said = kHere;
    check(MPI_Recv(&said, 1, MPI_CHAR, status.MPI_SOURCE, kRollCall, MPI_COMM_WORLD, MPI_STATUS_IGNORE),
          "the roll call");
    if (said == kWhoIsThere) say(kHere, status.MPI_SOURCE);
    return status.MPI_SOURCE;
}

// A rank whose wait has timed out calls the roll. The other waiting ranks answer, whatever their own limits; a rank
// that does not is lost.
std::string MpiComm::lost_ranks() {
    std::vector<char> heard(static_cast<size_t>(size_), 0);
    heard[static_cast<size_t>(rank_)] = 1;
    for (int r = 0; r < size_; ++r)
        if (r != rank_) say(kWhoIsThere, r);
    for (const Clock::time_point begin = Clock::now(); seconds_since(begin) < kRollCallSeconds; sched_yield())
        if (const int r = answer_roll_call(); r >= 0) heard[static_cast<size_t>(r)] = 1;
    std::string lost;
    for (int r = 0; r < size_; ++r)
        if (!heard[static_cast<size_t>(r)]) lost += (lost.empty() ? "" : ", ") + names_[static_cast<size_t>(r)];
    return lost.empty() ? "the other ranks, which are alive but make no progress" : lost;
}

void MpiComm::max(std::span<float> values) {
    for_each_slice(values.size(), [&](size_t at, size_t count) {
        run("the maximum over all ranks", [&](MPI_Request* request) {
            return MPI_Iallreduce(MPI_IN_PLACE, values.data() + at, static_cast<int>(count), MPI_FLOAT, MPI_MAX,
                                  MPI_COMM_WORLD, request);
        });
    });
}

void MpiComm::all_reduce_max(std::span<float> values) {
    const Clock::time_point begin = Clock::now();
    max(values);
    traffic_.bytes += static_cast<int64_t>(values.size_bytes());
    traffic_.seconds += seconds_since(begin);
}

void MpiComm::start_sum(std::span<float> values) {
    const Clock::time_point begin = Clock::now();
    for_each_slice(values.size(), [&](size_t at, size_t count) {
        const Parts parts(count, size_);
        const int mine = parts.counts[static_cast<size_t>(rank_)];
        std::vector<int> same(static_cast<size_t>(size_), mine), places(static_cast<size_t>(size_));
        for (int r = 0; r < size_; ++r) places[static_cast<size_t>(r)] = r * mine;
        received_.resize(static_cast<size_t>(mine) * static_cast<size_t>(size_));
        float* slice = values.data() + at;
        run("the sum over all ranks", [&](MPI_Request* request) {
            return MPI_Ialltoallv(slice, parts.counts.data(), parts.begins.data(), MPI_FLOAT, received_.data(),
                                  same.data(), places.data(), MPI_FLOAT, MPI_COMM_WORLD, request);
        });
        float* part = slice + parts.begins[static_cast<size_t>(rank_)];
        add_in_rank_order<float>(std::span(part, static_cast<size_t>(mine)), received_);
        run("the sum over all ranks", [&](MPI_Request* request) {
            return MPI_Iallgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, slice, parts.counts.data(), parts.begins.data(),
                                   MPI_FLOAT, MPI_COMM_WORLD, request);
        });
    });
    traffic_.bytes +=
        static_cast<int64_t>(2 * values.size_bytes() * static_cast<size_t>(size_ - 1) / static_cast<size_t>(size_));
    traffic_.seconds += seconds_since(begin);
}

void MpiComm::sum(std::span<double> values) {
    std::vector<double> all(values.size() * static_cast<size_t>(size_));
    const auto count = static_cast<int>(values.size());
    run("the sum of figures", [&](MPI_Request* request) {
        return MPI_Iallgather(values.data(), count, MPI_DOUBLE, all.data(), count, MPI_DOUBLE, MPI_COMM_WORLD, request);
    });
    add_in_rank_order<double>(values, all);
}

void MpiComm::sum(std::span<int64_t> values) {
    run("the sum of counts", [&](MPI_Request* request) {
        return MPI_Iallreduce(MPI_IN_PLACE, values.data(), static_cast<int>(values.size()), MPI_INT64_T, MPI_SUM,
                              MPI_COMM_WORLD, request);
    });
}

void MpiComm::broadcast(std::span<std::byte> values) {
    for_each_slice(values.size(), [&](size_t at, size_t count) {
        run("the broadcast from rank 0", [&](MPI_Request* request) {
            return MPI_Ibcast(values.data() + at, static_cast<int>(count), MPI_BYTE, 0, MPI_COMM_WORLD, request);
        });
    });
}

std::vector<std::string> MpiComm::gather(const std::string& mine) {
    std::vector<int> lengths(static_cast<size_t>(size_)), begins(static_cast<size_t>(size_));
    require(mine.size() < kSlice, "a text of ", mine.size(), " bytes is too long to be gathered");
    const auto length = static_cast<int>(mine.size());
    const char* what = "gathering texts on rank 0";
    run(what, [&](MPI_Request* request) {
        return MPI_Igather(&length, 1, MPI_INT, lengths.data(), 1, MPI_INT, 0, MPI_COMM_WORLD, request);
    });
    std::exclusive_scan(lengths.begin(), lengths.end(), begins.begin(), 0);
    std::string all(static_cast<size_t>(std::reduce(lengths.begin(), lengths.end())), '\0');
    run(what, [&](MPI_Request* request) {
        return MPI_Igatherv(mine.data(), length, MPI_CHAR, all.data(), lengths.data(), begins.data(), MPI_CHAR, 0,
                            MPI_COMM_WORLD, request);
    });
    std::vector<std::string> texts;
    for (size_t r = 0; is_first() && r < lengths.size(); ++r)
        texts.push_back(all.substr(static_cast<size_t>(begins[r]), static_cast<size_t>(lengths[r])));
    return texts;
}

void MpiComm::barrier() {
    run("the wait for all ranks", [&](MPI_Request* request) { return MPI_Ibarrier(MPI_COMM_WORLD, request); });
}

void MpiComm::start_heartbeat(double limit) {
    int64_t all_can = any_thread_;
    run("asking who can send heartbeats", [&](MPI_Request* request) {
        return MPI_Iallreduce(MPI_IN_PLACE, &all_can, 1, MPI_INT64_T, MPI_MIN, MPI_COMM_WORLD, request);
    });
    if (!all_can) return;  // MPI for one thread only: time limits alone find lost ranks
    MPI_Comm comm = MPI_COMM_NULL;
    run("making way for heartbeats",
        [&](MPI_Request* request) { return MPI_Comm_idup(MPI_COMM_WORLD, &comm, request); });
    heartbeat_ = std::make_unique<Heartbeat>(comm, limit, [this, limit](int rank, const char* error) {
        if (rank < 0) fail_all(error, EXIT_FAILURE);
        fail_all(concat(names_[static_cast<size_t>(rank)], " has given no sign of life for ", std::lround(limit),
                        " seconds. Was the process stopped, or is that host or the network down? ",
                        program().comm_timeout, " sets the limit"),
                 EXIT_FAILURE);
    });
}

// A fault that all ranks share, such as a missing file, is reported by the first rank: the others give it the time to
// end them.
void MpiComm::fail_all(const std::string& message, int status) {
    while (failing_.test_and_set()) std::this_thread::sleep_for(std::chrono::hours(1));  // another thread ends the run
    if (!is_first()) std::this_thread::sleep_for(std::chrono::milliseconds(1000 + 20 * rank_));
    std::fflush(stdout);
    std::fprintf(stderr, "%s: %s: %s\n", program().name, name().c_str(), message.c_str());
    std::fflush(stderr);
    // If this thread must not call MPI, the launcher ends the others because this process exits without MPI_Finalize.
    if (any_thread_ || std::this_thread::get_id() == thread_) MPI_Abort(MPI_COMM_WORLD, status);
    std::_Exit(status);
}

}  // namespace llmc

#endif
