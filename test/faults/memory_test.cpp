// A run takes the memory it plans, and reports a limit that it cannot keep before the first step.
//
//   build/memory_test PROGRAM RANDOM_MODEL [BATCH_SIZES...]
//
// makes a model with RANDOM_MODEL (dev/random_model.cpp) whose plan is some hundreds of MiB, and trains it on the CPU:
//
//   for each method, recomputation and batch size, the peak resident set of the process less its base differs from the
//   plan by at most 5%. The base is what the program and its libraries hold beside the plan: code and data, threads'
//   stacks, and oneDNN's buffers of packed operands, which grow with the rows of a product up to some thousand. It is
//   measured once, on another batch size, and must stay below the 64 MiB that a run keeps free for it;
//   under RLIMIT_AS from far too little to enough: the run ends well, or with one sentence before its first step;
//   under RLIMIT_AS cuBLASLt, where the program was built with it, is loaded, or refused with a sentence.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#ifdef LLMC_CUDA
#include "llmc/cuda/gemm/cublaslt.cuh"
#endif
#include "llmc/core/error.h"
#include "llmc/system/memory_limits.h"
#include "test/files.h"
#include "test/quaff/small_model.h"

namespace {

namespace fs = std::filesystem;
using llmc::require;

constexpr double kBound = 0.05;
constexpr double kUnplanned = 64;  // MiB, of quaff/run/memory_room.cpp
constexpr const char* kConfig =
    R"({"model_type": "llama", "vocab_size": 8192, "hidden_size": 640, "intermediate_size": 1728,
        "num_hidden_layers": 6, "num_attention_heads": 10, "num_key_value_heads": 5, "head_dim": 64,
        "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": false,
        "hidden_act": "silu", "bos_token_id": 1, "eos_token_id": 2})";

struct Ending {
    int status;  // of exit, or minus the signal
    std::string out, err;
};

class MemoryTest {
  public:
    MemoryTest(std::string program, const std::string& random_model) : program_(std::move(program)) {
        small::write_model(folder_ / "tiny");
        small::write_examples(folder_ / "tiny/data.jsonl", 21, 7);
        fs::create_directory(folder_ / "config");
        small::write_text(folder_ / "config/config.json", kConfig);
        const std::string command = "'" + random_model + "' " + std::string(folder_ / "config") + " " +
                                    std::string(folder_ / "large") + " 24 128";
        require(std::system(command.c_str()) == 0, "failed: ", command);
    }

    void compare_plans(const std::vector<std::string>& batches) {
        const auto [base_plan, base_peak] =
            plan_and_peak({"--method", "fp", "--recompute", "block", "--batch-size", "18"});
        const double base = base_peak - base_plan;
        std::printf("base of the process: %.1f MiB\n", base);
        require(base < kUnplanned, "the base is more than the ", kUnplanned, " MiB that are kept free for it");
        double worst = 0;
        for (const std::string method : {"quaff", "fp"}) {
            for (const std::string recompute : {"none", "block"}) {
                for (const std::string& batch : batches) {
                    const auto [plan, peak] =
                        plan_and_peak({"--method", method, "--recompute", recompute, "--batch-size", batch});
                    const double error = (peak - base) / plan - 1;
                    std::printf("%-5s  recompute %-5s  batch %2s: plan %6.1f MiB, peak less base %6.1f MiB, %+.1f%%\n",
                                method.c_str(), recompute.c_str(), batch.c_str(), plan, peak - base, 100 * error);
                    worst = std::max(worst, std::abs(error));
                }
            }
        }
        require(worst <= kBound, "a plan is wrong by ", 100 * worst, "%");
    }

    void limit_address_space() {
        int refused = 0, done = 0;
        // From a limit at which the program can hardly start until three runs in a row end well.
        for (int64_t limit = 40; done < 3; limit += 3) {
            require(limit < 4000, "no limit is enough");
            const Ending ending = run("tiny", {}, limit << 20);
            const std::string log = test::read(folder_ / "out/log.jsonl");
            require(ending.status >= 0, "under RLIMIT_AS of ", limit, " MiB: signal ", -ending.status, "\n",
                    ending.err);
            require(ending.status == 0 || log.find("grad_norm") == log.npos, "under RLIMIT_AS of ", limit,
                    " MiB the run ends after its first step:\n", ending.err);
            require(ending.status == 0 || !ending.err.empty(), "under RLIMIT_AS of ", limit, " MiB: not a word");
            if (ending.status != 0) ++refused;
            done = ending.status == 0 ? done + 1 : 0;
        }
        std::printf("%d limits of RLIMIT_AS refused before the first step, %d kept\n", refused, done);
    }

#ifdef LLMC_CUDA
    // Each in a process of its own, because what is loaded stays.
    void limit_cuda() {
        int refused = 0, loaded = 0;
        for (int64_t room = 0; loaded < 2; room += int64_t{128} << 20) {
            require(room < int64_t{4} << 30, "no limit is enough for cuBLASLt");
            std::fflush(stdout);
            const pid_t process = ::fork();
            require(process >= 0, "cannot fork");
            if (process == 0) ::_exit(load_cublaslt_within(room));
            int status = 0;
            ::waitpid(process, &status, 0);
            require(WIFEXITED(status), "loading cuBLASLt with ", room >> 20, " MiB of address space left: signal ",
                    WTERMSIG(status));
            require(WEXITSTATUS(status) <= kRefused, "loading cuBLASLt with no limit in the way failed");
            ++(WEXITSTATUS(status) == kRefused ? refused : loaded);
        }
        std::printf("cuBLASLt refused under %d limits of RLIMIT_AS, loaded under %d\n", refused, loaded);
    }
#endif

  private:
#ifdef LLMC_CUDA
    static constexpr int kLoaded = 0, kRefused = 1, kFailed = 2;

    static int load_cublaslt_within(int64_t room) {
        rlimit limit{RLIM_INFINITY - 1, RLIM_INFINITY};
        ::setrlimit(RLIMIT_AS, &limit);
        const int64_t mapped = std::numeric_limits<int64_t>::max() - llmc::address_space_room();
        limit.rlim_cur = static_cast<rlim_t>(mapped + room);
        ::setrlimit(RLIMIT_AS, &limit);
        try {
            cuda::load_cublaslt();
            return kLoaded;
        } catch (const llmc::Error& error) {
            if (std::string_view(error.what()).find("RLIMIT_AS") != std::string_view::npos) return kRefused;
            std::fprintf(stderr, "%s\n", error.what());
            return kFailed;
        }
    }
#endif

    Ending run(const std::string& model, const std::vector<std::string>& more, int64_t limit) const {
        fs::remove_all(folder_ / "out");
        std::vector<std::string> words = {program_,
                                          "train",
                                          "--device",
                                          "cpu",
                                          "--model",
                                          folder_ / model,
                                          "--data",
                                          folder_ / model / "data.jsonl",
                                          "--eval-split",
                                          "0",
                                          "--threads",
                                          "2",
                                          "--max-steps",
                                          "2",
                                          "--save-steps",
                                          "1",
                                          "--json",
                                          "--quiet",
                                          "--max-cal-samples",
                                          "8",
                                          "--out",
                                          folder_ / "out"};
        words.insert(words.end(), more.begin(), more.end());
        std::vector<char*> argv;
        for (std::string& word : words) argv.push_back(word.data());
        argv.push_back(nullptr);
        const std::string out = folder_ / "stdout", err = folder_ / "stderr";
        std::fflush(stdout);
        const pid_t process = ::fork();
        require(process >= 0, "cannot fork");
        if (process == 0) {
            ::dup2(::open(out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600), STDOUT_FILENO);
            ::dup2(::open(err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600), STDERR_FILENO);
            const rlimit room{static_cast<rlim_t>(limit), static_cast<rlim_t>(limit)};
            if (limit > 0) ::setrlimit(RLIMIT_AS, &room);
            ::execv(argv[0], argv.data());
            ::_exit(127);
        }
        int status = 0;
        ::waitpid(process, &status, 0);
        return {WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status), test::read(out), test::read(err)};
    }

    // In MiB.
    std::pair<double, double> plan_and_peak(const std::vector<std::string>& more) const {
        const Ending ending = run("large", more, 0);
        require(ending.status == 0, "a run failed:\n", ending.err);
        const auto result = nlohmann::json::parse(ending.out);
        return {result["planned_memory_bytes"].get<double>() / (1 << 20),
                result["peak_memory_bytes"].get<double>() / (1 << 20)};
    }

    test::TempDir folder_;
    std::string program_;
};

}  // namespace

int main(int argc, char** argv) {
    if (argc < 3) {
        std::fprintf(stderr, "usage: %s PROGRAM RANDOM_MODEL [BATCH_SIZES...]\n", argv[0]);
        return 2;
    }
    try {
        MemoryTest memory(argv[1], argv[2]);
        memory.limit_address_space();
#ifdef LLMC_CUDA
        memory.limit_cuda();
#endif
        memory.compare_plans(argc > 3 ? std::vector<std::string>(argv + 3, argv + argc)
                                      : std::vector<std::string>{"12", "24"});
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "memory_test: %s\n", error.what());
        return 1;
    }
}
