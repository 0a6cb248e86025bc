#include "llmc/cpu/global_norm.h"

#include "test/catch.h"
#include "test/llmc/cpu/operator_testing.h"

using namespace llmc_test;

namespace {

double norm(int threads, std::span<const float> x) {
    const cpu::Device device{threads};
    std::vector<double> workspace(cpu::global_norm_workspace(device));
    return cpu::global_norm(device, x, workspace);
}

}  // namespace

TEST_CASE("the global norm is the same bits for any number of threads", "[global_norm]") {
    const auto x = random_vector<float>(GENERATE(1, 255, 256, 257, 100003), 1);
    double sum = 0;
    for (float value : x) sum += static_cast<double>(value) * static_cast<double>(value);
    const double one = norm(1, x);
    CHECK(one == Approx(std::sqrt(sum)).epsilon(1e-12));
    CHECK(norm(2, x) == one);
    CHECK(norm(5, x) == one);
}

TEST_CASE("the global norm of large values does not overflow a float's square", "[global_norm]") {
    const std::vector<float> x{3e30f, 4e30f};
    CHECK(norm(1, x) == Approx(5e30));
}

TEST_CASE("the global norm of nothing is zero", "[global_norm]") {
    CHECK(norm(2, {}) == 0.0);
}
