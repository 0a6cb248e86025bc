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
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "test/emu/memory.h"

struct ncclComm {
    int ranks, rank;
    bool finalized = false;
    std::atomic<ncclResult_t> error = ncclSuccess;
#ifdef LLMC_MPI
    MPI_Comm mpi = MPI_COMM_NULL;  // of several ranks
#endif
};

namespace {

std::mutex mutex;  // of the two below
std::set<const ncclComm*> live;
std::string last_error;

ncclResult_t refuse(ncclResult_t result, const std::string& why) {
    std::lock_guard lock(mutex);
    last_error = why;
    return result;
}

bool is_live(const ncclComm* comm) {
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

template <class T>
std::vector<T> from_all([[maybe_unused]] ncclComm_t comm, const T* mine, size_t count) {
#ifdef LLMC_MPI
    if (comm->ranks > 1) {
        std::vector<T> all(count * static_cast<size_t>(comm->ranks));
        const int bytes = static_cast<int>(count * sizeof(T));
        MPI_Allgather(mine, bytes, MPI_BYTE, all.data(), bytes, MPI_BYTE, comm->mpi);
        return all;
    }
#endif
    return {mine, mine + count};
}

// NCCL would wait for ever for ranks that ask for different things, or mix their bytes.
ncclResult_t run(const Reduction& reduction) {
    ncclComm& comm = *reduction.comm;
    for (const Request& other : from_all(&comm, &reduction.request, 1)) {
        if (other == reduction.request) continue;
        comm.error = ncclInvalidUsage;
        return refuse(ncclInvalidUsage, "ranks ask for different reductions: " + std::to_string(other.count) +
                                            " values of type " + std::to_string(other.type) + " and " +
                                            std::to_string(reduction.request.count) + " of type " +
                                            std::to_string(reduction.request.type));
    }
    const size_t count = reduction.request.count;
    const std::vector<float> all = from_all(&comm, reduction.from, count);
    for (size_t i = 0; i < count; ++i) {
        float value = all[i];
        for (size_t r = 1; r < static_cast<size_t>(comm.ranks); ++r) {
            const float other = all[r * count + i];
            value = reduction.request.operation == ncclSum ? value + other : std::max(value, other);
        }
        reduction.to[i] = value;
    }
    return ncclSuccess;
}

ncclResult_t validate(const Reduction& reduction) {
    if (!is_live(reduction.comm)) return refuse(ncclInvalidArgument, "the communicator is none");
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
#ifdef LLMC_MPI
    int started = 0, world = 1, world_rank = 0;
    MPI_Initialized(&started);
    if (started) {
        MPI_Comm_size(MPI_COMM_WORLD, &world);
        MPI_Comm_rank(MPI_COMM_WORLD, &world_rank);
    }
    if (ranks != world || rank != world_rank)
        return refuse(ncclInvalidUsage, "the emulator's ranks are those of MPI_COMM_WORLD");
    if (started) MPI_Comm_dup(MPI_COMM_WORLD, &made->mpi);
#else
    if (ranks > 1) return refuse(ncclInvalidUsage, "without MPI the emulator has one rank");
#endif
    if (ranks > 1) {
        for (const ncclUniqueId& other : from_all(made.get(), &id, 1))
            if (std::memcmp(&other, &id, sizeof id) != 0)
                return refuse(ncclInvalidUsage, "the ranks do not all have the id that one of them made");
        // Emulated GPUs are those of one host.
        int gpu = 0;
        cudaGetDevice(&gpu);
        std::vector<int> gpus = from_all(made.get(), &gpu, 1);
        std::sort(gpus.begin(), gpus.end());
        if (std::adjacent_find(gpus.begin(), gpus.end()) != gpus.end())
            return refuse(ncclInvalidUsage, "Duplicate GPU detected");
    }
    std::lock_guard lock(mutex);
    *comm = made.release();
    live.insert(*comm);
    return ncclSuccess;
}

ncclResult_t ncclCommFinalize(ncclComm_t comm) {
    if (!is_live(comm)) return refuse(ncclInvalidArgument, "the communicator is none");
    if (comm->finalized) return refuse(ncclInvalidUsage, "the communicator was finalized already");
    comm->finalized = true;
    return ncclSuccess;
}

ncclResult_t ncclCommDestroy(ncclComm_t comm) {
    {
        std::lock_guard lock(mutex);
        if (live.erase(comm) == 0) return ncclInvalidArgument;
    }
#ifdef LLMC_MPI
    if (comm->mpi != MPI_COMM_NULL) MPI_Comm_free(&comm->mpi);
#endif
    delete comm;
    return ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t comm) {
    return ncclCommDestroy(comm);
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* error) {
    if (!is_live(comm)) return refuse(ncclInvalidArgument, "the communicator is none");
    *error = comm->error;
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
    if (group_depth == 0) return run(reduction);
    group.push_back(reduction);
    return ncclSuccess;
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
    for (const Reduction& reduction : reductions)
        if (const ncclResult_t result = run(reduction); result != ncclSuccess) return result;
    return ncclSuccess;
}
