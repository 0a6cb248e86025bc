#include "test/emu/nccl.h"

#ifdef LLMC_MPI
#include <mpi.h>
#endif
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "test/emu/memory.h"

// A stage of what a communicator does with the other ranks: how it begins, and how it ends.
struct Stage {
#ifdef LLMC_MPI
    std::function<void(MPI_Request*)> begin;
    MPI_Request request = MPI_REQUEST_NULL;
    bool begun = false;
#endif
    std::function<ncclResult_t()> finish;
};

struct ncclComm {
    int ranks, rank;
    bool blocking = true;
    bool finalized = false;
    std::mutex mutex;  // of the two below
    std::deque<Stage> stages;
    ncclResult_t error = ncclSuccess;
#ifdef LLMC_MPI
    MPI_Comm mpi = MPI_COMM_NULL;  // of several ranks
#endif
};

namespace {

std::mutex mutex;  // of the two below
std::set<ncclComm*> live;
std::string last_error;

ncclResult_t refuse(ncclResult_t result, const std::string& why) {
    std::lock_guard lock(mutex);
    last_error = why;
    return result;
}

bool is_live(ncclComm* comm) {
    std::lock_guard lock(mutex);
    return live.contains(comm);
}

// What all ranks have to agree on before they reduce.
struct Request {
    uint64_t count;
    int32_t type, operation;
    bool operator==(const Request&) const = default;
};

struct Reduction {
    const float* from;
    float* to;
    Request request;
    ncclComm_t comm;
    cudaStream_t stream;
};

// Reductions of a group wait for its end.
thread_local int group_depth = 0;
thread_local std::vector<Reduction> group;

// Continues what has begun, as far as the other ranks allow; comm.mutex is held.
ncclResult_t advance(ncclComm& comm) {
    while (comm.error == ncclSuccess && !comm.stages.empty()) {
        Stage& stage = comm.stages.front();
#ifdef LLMC_MPI
        if (!stage.begun) stage.begin(&stage.request);
        stage.begun = true;
        int done = 1;  // there is no request with one rank, where MPI may not even have started
        if (stage.request != MPI_REQUEST_NULL) MPI_Test(&stage.request, &done, MPI_STATUS_IGNORE);
        if (!done) return ncclInProgress;
#endif
        const auto finish = std::move(stage.finish);
        comm.stages.pop_front();
        comm.error = finish();
    }
    return comm.error;
}

// What a call that has added stages returns: at once, or when they are done.
ncclResult_t begin(ncclComm& comm) {
    for (;;) {
        {
            std::lock_guard lock(comm.mutex);
            const ncclResult_t result = advance(comm);
            if (result != ncclInProgress || !comm.blocking) return result;
        }
        std::this_thread::yield();
    }
}

// A stage: `use` gets everybody's values, by rank; `mine` is called when the stage begins.
template <class T, class Mine, class Use>
void exchange(ncclComm& comm, const Mine& mine, const Use& use) {
    auto all = std::make_shared<std::vector<T>>();
    Stage stage;
#ifdef LLMC_MPI
    stage.begin = [&comm, mine, all](MPI_Request* request) {
        *all = mine();
        const size_t count = all->size(), begin = count * static_cast<size_t>(comm.rank);
        if (comm.ranks == 1) return;
        std::vector<T> own = std::move(*all);
        all->resize(count * static_cast<size_t>(comm.ranks));
        std::ranges::copy(own, all->begin() + static_cast<int64_t>(begin));
        MPI_Iallgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, all->data(), static_cast<int>(count * sizeof(T)), MPI_BYTE,
                       comm.mpi, request);
    };
    stage.finish = [use, all] { return use(*all); };
#else
    stage.finish = [mine, use] { return use(mine()); };
#endif
    comm.stages.push_back(std::move(stage));
}

std::string in_words(const Request& request) {
    return (request.operation == ncclSum ? "a sum of " : "a maximum of ") + std::to_string(request.count) + " values";
}

// NCCL would wait forever for ranks that ask for different things, or mix their bytes.
void add_reduction(const Reduction& reduction) {
    ncclComm& comm = *reduction.comm;
    std::lock_guard lock(comm.mutex);
    exchange<Request>(
        comm, [reduction] { return std::vector<Request>{reduction.request}; },
        [reduction](const std::vector<Request>& requests) {
            for (const Request& other : requests)
                if (!(other == reduction.request))
                    return refuse(ncclInvalidUsage, "ranks ask for different reductions: " + in_words(other) + " and " +
                                                        in_words(reduction.request));
            return ncclSuccess;
        });
    const size_t count = reduction.request.count;
    exchange<float>(
        comm, [reduction, count] { return std::vector<float>(reduction.from, reduction.from + count); },
        [reduction, count](const std::vector<float>& all) {
            for (size_t i = 0; i < count; ++i) {
                float value = all[i];
                for (size_t other = i + count; other < all.size(); other += count)
                    value = reduction.request.operation == ncclSum ? value + all[other] : std::max(value, all[other]);
                reduction.to[i] = value;
            }
            return ncclSuccess;
        });
}

bool is_busy(ncclComm& comm) {
    std::lock_guard lock(comm.mutex);
    return comm.error == ncclSuccess && !comm.stages.empty();
}

ncclResult_t validate(const Reduction& reduction) {
    if (!is_live(reduction.comm)) return refuse(ncclInvalidArgument, "the communicator is none");
    if (is_busy(*reduction.comm))
        return refuse(ncclInvalidUsage,
                      "the communicator is in the middle of something: ncclCommGetAsyncError tells when");
    if (reduction.comm->error != ncclSuccess) return reduction.comm->error;
    if (reduction.comm->finalized) return refuse(ncclInvalidUsage, "the communicator was finalized");
    const size_t bytes = reduction.request.count * sizeof(float);
    if (reduction.request.type != ncclFloat)
        return refuse(ncclInvalidArgument, "the emulator reduces fp32 and nothing else");
    if (reduction.request.operation != ncclSum && reduction.request.operation != ncclMax)
        return refuse(ncclInvalidArgument, "the emulator sums and takes maxima, and nothing else");
    if (bytes > 0 && (!emu::device_accessible(reduction.from, bytes) || !emu::device_accessible(reduction.to, bytes)))
        return refuse(ncclInvalidArgument, "a buffer is not in the device's memory");
    if (cudaStreamQuery(reduction.stream) != cudaSuccess) return refuse(ncclUnhandledCudaError, "the stream is none");
    return ncclSuccess;
}

}  // namespace

ncclResult_t ncclGetVersion(int* version) {
    *version = NCCL_MAJOR * 10000 + NCCL_MINOR * 100;
    return ncclSuccess;
}

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
    static std::atomic<int> made = 0;
    *id = {};
    std::snprintf(id->internal, sizeof id->internal, "emulated-%d-%d", static_cast<int>(getpid()), ++made);
    return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int ranks, ncclUniqueId id, int rank, ncclConfig_t* config) {
    *comm = nullptr;
    if (ranks < 1 || rank < 0 || rank >= ranks) return refuse(ncclInvalidArgument, "there is no such rank");
    if (config && config->magic != 0xcafebeef)
        return refuse(ncclInvalidArgument, "the config does not come from NCCL_CONFIG_INITIALIZER");
    if (std::strncmp(id.internal, "emulated-", 9) != 0) return refuse(ncclInvalidArgument, "the id is none");
    auto made = std::make_unique<ncclComm>();
    made->ranks = ranks;
    made->rank = rank;
    made->blocking = !config || config->blocking != 0;
#ifdef LLMC_MPI
    int started = 0, world = 1, world_rank = 0;
    MPI_Initialized(&started);
    if (started) {
        MPI_Comm_size(MPI_COMM_WORLD, &world);
        MPI_Comm_rank(MPI_COMM_WORLD, &world_rank);
    }
    if (ranks != world || rank != world_rank)
        return refuse(ncclInvalidUsage, "the emulator's ranks are those of MPI_COMM_WORLD");
    if (started) {
        Stage stage;
        stage.begin = [made = made.get()](MPI_Request* request) { MPI_Comm_idup(MPI_COMM_WORLD, &made->mpi, request); };
        stage.finish = [] { return ncclSuccess; };
        made->stages.push_back(std::move(stage));
    }
#else
    if (ranks > 1) return refuse(ncclInvalidUsage, "without MPI the emulator has one rank");
#endif
    exchange<ncclUniqueId>(
        *made, [id] { return std::vector<ncclUniqueId>{id}; },
        [id](const std::vector<ncclUniqueId>& ids) {
            for (const ncclUniqueId& other : ids)
                if (std::memcmp(&other, &id, sizeof id) != 0)
                    return refuse(ncclInvalidUsage, "the ranks do not all have the id that one of them made");
            return ncclSuccess;
        });
    // Emulated GPUs are those of one host.
    int gpu = 0;
    cudaGetDevice(&gpu);
    exchange<int>(
        *made, [gpu] { return std::vector<int>{gpu}; },
        [](std::vector<int> gpus) {
            std::sort(gpus.begin(), gpus.end());
            if (std::adjacent_find(gpus.begin(), gpus.end()) != gpus.end())
                return refuse(ncclInvalidUsage, "Duplicate GPU detected");
            return ncclSuccess;
        });
    const ncclResult_t result = begin(*made);
    if (result != ncclSuccess && result != ncclInProgress) return result;
    std::lock_guard lock(mutex);
    *comm = made.release();
    live.insert(*comm);
    return result;
}

ncclResult_t ncclCommFinalize(ncclComm_t comm) {
    if (!is_live(comm)) return refuse(ncclInvalidArgument, "the communicator is none");
    if (comm->finalized) return refuse(ncclInvalidUsage, "the communicator was finalized already");
    comm->finalized = true;
    {
        // After all that has begun, together with the other ranks.
        std::lock_guard lock(comm->mutex);
        exchange<char>(
            *comm, [] { return std::vector<char>(1); }, [](const std::vector<char>&) { return ncclSuccess; });
    }
    return begin(*comm);
}

ncclResult_t ncclCommDestroy(ncclComm_t comm) {
    {
        std::lock_guard lock(mutex);
        if (live.erase(comm) == 0) return ncclInvalidArgument;
    }
#ifdef LLMC_MPI
    if (comm->mpi != MPI_COMM_NULL && comm->stages.empty()) MPI_Comm_free(&comm->mpi);
#endif
    delete comm;
    return ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t comm) {
    return ncclCommDestroy(comm);
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* error) {
    if (!is_live(comm)) return refuse(ncclInvalidArgument, "the communicator is none");
    std::lock_guard lock(comm->mutex);
    *error = advance(*comm);
    return ncclSuccess;
}

const char* ncclGetErrorString(ncclResult_t result) {
    switch (result) {
        case ncclSuccess:
            return "no error";
        case ncclUnhandledCudaError:
            return "unhandled cuda error";
        case ncclSystemError:
            return "unhandled system error";
        case ncclInternalError:
            return "internal error";
        case ncclInvalidArgument:
            return "invalid argument";
        case ncclInvalidUsage:
            return "invalid usage";
        case ncclRemoteError:
            return "remote process exited or there was a network error";
        case ncclInProgress:
            return "NCCL operation in progress";
        case ncclNumResults:
            break;
    }
    return "unknown result code";
}

const char* ncclGetLastError(ncclComm_t) {
    std::lock_guard lock(mutex);
    return last_error.c_str();
}

ncclResult_t ncclAllReduce(const void* from, void* to, size_t count, ncclDataType_t type, ncclRedOp_t operation,
                           ncclComm_t comm, cudaStream_t stream) {
    const Reduction reduction{
        static_cast<const float*>(from), static_cast<float*>(to), {count, type, operation}, comm, stream};
    if (const ncclResult_t result = validate(reduction); result != ncclSuccess) return result;
    if (group_depth > 0) {
        group.push_back(reduction);
        return ncclSuccess;
    }
    add_reduction(reduction);
    return begin(*comm);
}

ncclResult_t ncclGroupStart() {
    ++group_depth;
    return ncclSuccess;
}

ncclResult_t ncclGroupEnd() {
    if (group_depth == 0) return refuse(ncclInvalidUsage, "ncclGroupEnd without ncclGroupStart");
    if (--group_depth > 0) return ncclSuccess;
    std::vector<Reduction> reductions;
    reductions.swap(group);
    for (const Reduction& reduction : reductions) add_reduction(reduction);
    ncclResult_t result = ncclSuccess;
    for (const Reduction& reduction : reductions)
        if (const ncclResult_t one = begin(*reduction.comm); one != ncclSuccess) result = one;
    return result;
}

void emu::break_nccl(ncclResult_t error) {
    std::lock_guard lock(mutex);
    for (ncclComm* comm : live) {
        std::lock_guard lock_one(comm->mutex);
        comm->error = error;
    }
}
