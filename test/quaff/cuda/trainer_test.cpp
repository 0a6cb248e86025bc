// Whole runs on CUDA: what only a device apart from the host can do to them.
#include <csignal>

#include "llmc/cuda/runtime/gpu.h"
#include "test/catch.h"
#include "test/files.h"
#include "test/quaff/workshop.h"

using quaff::Workshop;

TEST_CASE("on CUDA, a run that is resumed leaves the same adapter, byte for byte", "[cuda][trainer]") {
    const Workshop shop("cuda_resume");
    const std::vector<std::string> more = {"--batch-size", "3", "--gradient-accumulation-steps", "2",
                                           "--eval-split", "0"};
    const auto run = [&](const std::string& out, std::vector<std::string> extra, bool stops = false) {
        extra.insert(extra.end(), more.begin(), more.end());
        const cuda::Gpu<cuda::bf16> gpu(0, {});
        shop.run_on(gpu.device, out, extra, nullptr, false, [&](int64_t step, int64_t done, int64_t) {
            if (stops && step == 3 && done == 1) raise(SIGTERM);  // the scales have moved once in this step
        });
    };
    run("whole", {"--max-steps", "4"});
    run("parts", {"--max-steps", "4"}, true);
    CHECK(shop.adapter("parts").empty());
    run("parts", {"--resume", "--max-steps", "4"});
    CHECK(shop.adapter("parts") == shop.adapter("whole"));
    CHECK(shop.adapter("whole").size() > 1000);
}

TEST_CASE("on CUDA, the outlier channels of a step are those that the CPU finds", "[cuda][ossh]") {
    const Workshop shop("cuda_ossh");
    const std::vector<std::string> more = {"--batch-size", "3", "--max-steps",     "2",
                                           "--eval-split", "0", "--track-outliers"};
    const auto lines = [&](const std::string& out) {
        std::vector<nlohmann::json> of_file;
        std::ifstream file(shop.folder / out / "ossh.jsonl");
        for (std::string line; std::getline(file, line);) of_file.push_back(nlohmann::json::parse(line));
        return of_file;
    };
    shop.run("cpu", more);
    {
        const cuda::Gpu<float> gpu(0, {});
        shop.run_on(gpu.device, "cuda", more);
    }
    const auto cpu = lines("cpu"), cuda = lines("cuda");
    REQUIRE(cpu.size() == 2 * 8);
    REQUIRE(cuda.size() == cpu.size());
    for (size_t i = 0; i < cpu.size(); i++) {
        CAPTURE(cpu[i].dump(), cuda[i].dump());
        for (const char* same : {"step", "module", "tokens", "channels", "found", "entered", "left", "hit_rate"})
            CHECK(cuda[i][same] == cpu[i][same]);
        // fp32 sums in another order; a value that is rounded to the other neighbour in one of the layers below moves
        // later ones by a step of int8.
        for (const char* close : {"energy_outside", "snr_x_db", "scale_mean"})
            CHECK(cuda[i][close].get<double>() == Approx(cpu[i][close].get<double>()).epsilon(1e-2));
    }
}

#ifdef LLMC_EMULATED
TEST_CASE("a GPU that is lost in the middle of a run leaves the last checkpoint, and a sentence that names it",
          "[cuda][trainer]") {
    const Workshop shop("cuda_lost");
    const std::vector<std::string> more = {"--batch-size", "3", "--max-steps",  "6",
                                           "--save-steps", "2", "--eval-split", "0"};
    const auto run = [&](const std::string& out, std::vector<std::string> extra, bool lost = false) {
        extra.insert(extra.end(), more.begin(), more.end());
        const cuda::Gpu<float> gpu(0, {});
        shop.run_on(gpu.device, out, extra, nullptr, false, [&](int64_t step, int64_t, int64_t) {
            if (!lost || step != 5) return;
            emu::machine().failure = cudaErrorIllegalAddress;
            emu::machine().failing_call = 1;
            emu::machine().failure_lasts = true;
        });
    };
    run("whole", {});
    const std::string error = test::error_of([&] { run("lost", {}, true); });
    emu::machine() = {};
    cudaGetLastError();
    CAPTURE(error);
    CHECK(error.starts_with("step 5: "));
    CHECK(error.find("an illegal memory access was encountered") != std::string::npos);
    CHECK(error.find("the last good checkpoint is " + (shop.folder / "lost" / "checkpoint-4").string()) !=
          std::string::npos);
    run("lost", {"--resume"});
    CHECK(shop.adapter("lost") == shop.adapter("whole"));
}
#endif
