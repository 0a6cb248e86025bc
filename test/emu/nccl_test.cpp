// What the emulated NCCL refuses: what the real one refuses, or hangs on.
#include "test/emu/nccl.h"

#include <span>
#include <vector>

#include "test/catch.h"
#include "test/ranks.h"

namespace {

// A communicator of all ranks and values on the device.
struct Fixture {
    llmc::Comm& ranks = test::ranks();
    ncclUniqueId id{};
    ncclComm_t comm = nullptr;
    float* values = nullptr;

    Fixture() {
        if (ranks.is_first()) REQUIRE(ncclGetUniqueId(&id) == ncclSuccess);
        ranks.broadcast(std::as_writable_bytes(std::span(id.internal)));
        REQUIRE(cudaSetDevice(ranks.local_rank()) == cudaSuccess);
        REQUIRE(cudaMalloc(&values, 64 * sizeof(float)) == cudaSuccess);
    }
    ~Fixture() {
        if (comm) ncclCommDestroy(comm);
        cudaFree(values);
        cudaSetDevice(0);
    }
    ncclResult_t meet(int size, int rank, const ncclUniqueId& by, bool blocking = true) {
        ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
        if (!blocking) config.blocking = 0;
        return ncclCommInitRankConfig(&comm, size, by, rank, &config);
    }
    ncclResult_t meet() { return meet(ranks.size(), ranks.rank(), id); }
    ncclResult_t settled() {
        ncclResult_t result = ncclInProgress;
        while (result == ncclInProgress) REQUIRE(ncclCommGetAsyncError(comm, &result) == ncclSuccess);
        return result;
    }
    ncclResult_t sum(size_t count, ncclDataType_t type = ncclFloat, ncclRedOp_t operation = ncclSum) {
        return ncclAllReduce(values, values, count, type, operation, comm, nullptr);
    }
};

}  // namespace

TEST_CASE("emulated NCCL: wrong arguments are refused", "[emu][nccl][ranks]") {
    Fixture f;
    CHECK(f.meet(f.ranks.size(), f.ranks.size(), f.id) == ncclInvalidArgument);
    CHECK(f.meet(0, 0, f.id) == ncclInvalidArgument);
    CHECK(f.meet(f.ranks.size(), f.ranks.rank(), ncclUniqueId{}) == ncclInvalidArgument);
    CHECK(f.meet(f.ranks.size() + 1, f.ranks.rank(), f.id) == ncclInvalidUsage);
    REQUIRE(f.meet() == ncclSuccess);
    std::vector<float> host(64);
    CHECK(ncclAllReduce(host.data(), f.values, 64, ncclFloat, ncclSum, f.comm, nullptr) == ncclInvalidArgument);
    CHECK(ncclAllReduce(f.values, host.data(), 64, ncclFloat, ncclSum, f.comm, nullptr) == ncclInvalidArgument);
    CHECK(f.sum(65) == ncclInvalidArgument);  // beyond the end of the buffer
    const auto gone = reinterpret_cast<cudaStream_t>(host.data());
    CHECK(ncclAllReduce(f.values, f.values, 64, ncclFloat, ncclSum, f.comm, gone) == ncclUnhandledCudaError);
    CHECK(cudaGetLastError() == cudaErrorInvalidResourceHandle);
    CHECK(f.sum(64) == ncclSuccess);
}

TEST_CASE("emulated NCCL: a communicator that is gone is refused", "[emu][nccl][ranks]") {
    Fixture f;
    REQUIRE(f.meet() == ncclSuccess);
    CHECK(ncclCommFinalize(f.comm) == ncclSuccess);
    CHECK(f.sum(1) == ncclInvalidUsage);
    CHECK(ncclCommFinalize(f.comm) == ncclInvalidUsage);
    CHECK(ncclCommDestroy(f.comm) == ncclSuccess);
    CHECK(f.sum(1) == ncclInvalidArgument);
    ncclResult_t error = ncclSuccess;
    CHECK(ncclCommGetAsyncError(f.comm, &error) == ncclInvalidArgument);
    CHECK(ncclCommDestroy(f.comm) == ncclInvalidArgument);
    f.comm = nullptr;
}

TEST_CASE("emulated NCCL: groups nest, and have an end for every start", "[emu][nccl][ranks]") {
    Fixture f;
    REQUIRE(f.meet() == ncclSuccess);
    CHECK(ncclGroupEnd() == ncclInvalidUsage);
    const float one = 1;
    float sum = 0;
    CHECK(cudaMemcpy(f.values, &one, sizeof one, cudaMemcpyHostToDevice) == cudaSuccess);
    CHECK(ncclGroupStart() == ncclSuccess);
    CHECK(ncclGroupStart() == ncclSuccess);
    CHECK(f.sum(1) == ncclSuccess);
    CHECK(ncclGroupEnd() == ncclSuccess);
    CHECK(cudaMemcpy(&sum, f.values, sizeof sum, cudaMemcpyDeviceToHost) == cudaSuccess);
    CHECK(sum == 1);  // nothing has happened yet
    CHECK(ncclGroupEnd() == ncclSuccess);
    CHECK(cudaMemcpy(&sum, f.values, sizeof sum, cudaMemcpyDeviceToHost) == cudaSuccess);
    CHECK(sum == static_cast<float>(f.ranks.size()));
}

TEST_CASE("emulated NCCL: ranks that ask for different things are told, and their communicator is of no more use",
          "[emu][nccl][ranks]") {
    Fixture f;
    REQUIRE(f.meet() == ncclSuccess);
    const bool alone = f.ranks.size() == 1;
    const ncclResult_t told = f.ranks.is_first() ? f.sum(8) : f.sum(9, ncclFloat, ncclMax);
    CHECK(told == (alone ? ncclSuccess : ncclInvalidUsage));
    const std::string message = ncclGetLastError(f.comm);
    if (!alone) CHECK_THAT(message, Catch::Matchers::ContainsSubstring("a sum of 8 values"));
    if (!alone) CHECK_THAT(message, Catch::Matchers::ContainsSubstring("a maximum of 9 values"));
    ncclResult_t error = ncclSuccess;
    CHECK(ncclCommGetAsyncError(f.comm, &error) == ncclSuccess);
    CHECK(error == (alone ? ncclSuccess : ncclInvalidUsage));
    CHECK(f.sum(8) == (alone ? ncclSuccess : ncclInvalidUsage));
}

TEST_CASE("emulated NCCL: ranks of different ids, or on one GPU, do not meet", "[emu][nccl][ranks]") {
    Fixture f;
    if (f.ranks.size() == 1) return;
    ncclUniqueId own{};
    CHECK(ncclGetUniqueId(&own) == ncclSuccess);
    CHECK(f.meet(f.ranks.size(), f.ranks.rank(), own) == ncclInvalidUsage);
    CHECK(cudaSetDevice(0) == cudaSuccess);
    CHECK(f.meet() == ncclInvalidUsage);
}

TEST_CASE("emulated NCCL: calls that do not block are in progress until all ranks have come", "[emu][nccl][ranks]") {
    Fixture f;
    const ncclResult_t met = f.meet(f.ranks.size(), f.ranks.rank(), f.id, /*blocking=*/false);
    CHECK((met == ncclInProgress || met == ncclSuccess));
    CHECK(f.settled() == ncclSuccess);
    if (f.ranks.size() == 1) {
        CHECK(f.sum(8) == ncclSuccess);
        return;
    }
    const bool late = f.ranks.rank() == f.ranks.size() - 1;
    if (!late) {
        CHECK(f.sum(8) == ncclInProgress);
        ncclResult_t result = ncclSuccess;
        CHECK(ncclCommGetAsyncError(f.comm, &result) == ncclSuccess);
        CHECK(result == ncclInProgress);
        CHECK(f.sum(8) == ncclInvalidUsage);  // one at a time
    }
    f.ranks.barrier();
    if (late) CHECK_NOTHROW(f.sum(8));
    CHECK(f.settled() == ncclSuccess);
}
