// Every collective, for as many ranks as there are: alone in `make test`, with others in `make test-mpi`.
#include "llmc/comm/comm.h"

#include "llmc/io/sha256.h"
#include "test/catch.h"
#include "test/ranks.h"

using namespace llmc;

namespace {

// Value i of rank r: of very different magnitudes, so that a sum in another order has other bits.
float value(int r, int64_t i) {
    const auto mixed = static_cast<uint32_t>(i * 2654435761u + static_cast<uint32_t>(r) * 40503u);
    const float magnitude = static_cast<float>(1 + mixed % 1000) * (mixed % 3 == 0 ? 1e-4f : mixed % 3 == 1 ? 1 : 1e4f);
    return mixed % 2 == 0 ? magnitude : -magnitude;
}

std::vector<float> values_of(int rank, int64_t n) {
    std::vector<float> values(static_cast<size_t>(n));
    for (int64_t i = 0; i < n; ++i) values[static_cast<size_t>(i)] = value(rank, i);
    return values;
}

std::string hash(const std::vector<float>& values) {
    Sha256 digest;
    digest.update({reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)});
    return digest.finish();
}

// Sizes around the number of ranks and the slice that is reduced at a time.
const std::vector<int64_t> kSizes = {0, 1, 2, 3, 5, 1000, 4097, (1 << 22) + 3};

}  // namespace

TEST_CASE("ranks are numbered, and know their host", "[comm][ranks]") {
    Comm& comm = test::ranks();
    CHECK(comm.size() >= 1);
    CHECK(comm.rank() >= 0);
    CHECK(comm.rank() < comm.size());
    CHECK(comm.local_rank() < comm.local_size());
    CHECK(comm.local_size() <= comm.size());
    CHECK_FALSE(comm.host().empty());
    const int launched = processes_of_launcher();
    CHECK(comm.size() == (launched > 0 ? launched : 1));
    // Every number once.
    std::vector<int64_t> seen(static_cast<size_t>(comm.size()), 0);
    seen[static_cast<size_t>(comm.rank())] = 1;
    comm.sum(seen);
    for (const int64_t count : seen) CHECK(count == 1);
}

TEST_CASE("a sum over the ranks is taken in their order, and the same bits everywhere", "[comm][ranks]") {
    Comm& comm = test::ranks();
    for (const int64_t n : kSizes) {
        std::vector<float> expected = values_of(0, n), mine = values_of(comm.rank(), n);
        for (int r = 1; r < comm.size(); ++r)
            for (int64_t i = 0; i < n; ++i) expected[static_cast<size_t>(i)] += value(r, i);
        comm.start_sum(mine);
        comm.finish_sums();
        INFO(n << " values");
        CHECK(mine == expected);
        const std::string own = hash(mine);
        for (const std::string& other : comm.gather(own)) CHECK(other == own);
    }
}

TEST_CASE("several sums under way do not mix", "[comm][ranks]") {
    Comm& comm = test::ranks();
    std::vector<float> a(100, 1), b(7, static_cast<float>(comm.rank()));
    comm.start_sum(a);
    comm.start_sum(b);
    comm.finish_sums();
    const auto p = static_cast<float>(comm.size());
    CHECK(a == std::vector<float>(100, p));
    CHECK(b == std::vector<float>(7, p * (p - 1) / 2));
}

TEST_CASE("a maximum over the ranks is exact", "[comm][ranks]") {
    Comm& comm = test::ranks();
    for (const int64_t n : kSizes) {
        std::vector<float> expected = values_of(0, n), mine = values_of(comm.rank(), n);
        for (int r = 1; r < comm.size(); ++r)
            for (int64_t i = 0; i < n; ++i)
                expected[static_cast<size_t>(i)] = std::max(expected[static_cast<size_t>(i)], value(r, i));
        comm.all_reduce_max(mine);
        INFO(n << " values");
        CHECK(mine == expected);
    }
}

TEST_CASE("figures and counts are summed over the ranks", "[comm][ranks]") {
    Comm& comm = test::ranks();
    std::vector<double> figures = {0.1 * (comm.rank() + 1), 1e300 * comm.rank()};
    std::vector<double> expected = {0.1, 0};
    for (int r = 1; r < comm.size(); ++r) {
        expected[0] += 0.1 * (r + 1);
        expected[1] += 1e300 * r;
    }
    comm.sum(figures);
    CHECK(figures == expected);

    std::vector<int64_t> counts = {int64_t{1} << 53, 1, comm.rank()};
    comm.sum(counts);
    const int64_t p = comm.size();
    CHECK(counts == std::vector<int64_t>{p << 53, p, p * (p - 1) / 2});  // exact beyond 53 bits

    CHECK(comm.any(comm.rank() == comm.size() - 1));
    CHECK_FALSE(comm.any(false));
}

TEST_CASE("everybody has rank 0's bytes and text after a broadcast", "[comm][ranks]") {
    Comm& comm = test::ranks();
    std::vector<std::byte> bytes(300, static_cast<std::byte>(comm.rank() + 7));
    comm.broadcast(bytes);
    CHECK(bytes == std::vector<std::byte>(300, std::byte{7}));
    for (const std::string& sent : {std::string("of another length"), std::string(), std::string("\0\n", 2)}) {
        std::string text = comm.is_first() ? sent : "mine";
        comm.broadcast(text);
        CHECK(text == sent);
    }
}

TEST_CASE("rank 0 has everybody's texts, by rank", "[comm][ranks]") {
    Comm& comm = test::ranks();
    const auto text_of = [](int r) { return std::string(static_cast<size_t>(r), static_cast<char>('a' + r)); };
    const std::vector<std::string> texts = comm.gather(text_of(comm.rank()));
    if (!comm.is_first()) CHECK(texts.empty());
    if (!comm.is_first()) return;
    REQUIRE(texts.size() == static_cast<size_t>(comm.size()));
    for (int r = 0; r < comm.size(); ++r) CHECK(texts[static_cast<size_t>(r)] == text_of(r));
}

TEST_CASE("only what several ranks reduce is traffic", "[comm][ranks]") {
    Comm& comm = test::ranks();
    const Traffic before = comm.traffic();
    std::vector<float> values(1000, 1);
    comm.start_sum(values);
    comm.finish_sums();
    const Traffic after = comm.traffic();
    // Each rank sends every other one a P-th of its values, and then of the sums.
    CHECK(after.bytes - before.bytes == 2 * 4000 * (comm.size() - 1) / comm.size());
    CHECK(after.seconds >= before.seconds);
    comm.barrier();
}
