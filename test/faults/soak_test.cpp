// A run of many tiny steps: its memory stays what it was, and its log has each step once.
//
//   build/soak_test PROGRAM [STEPS]
//
// trains a tiny model for STEPS steps (20000) with a checkpoint and an evaluation every twentieth of them. The peak of
// the resident set, which the log has for every step, may grow by a mebibyte from the first tenth of the run to its
// end: a leak of 64 bytes a step would exceed that over 20,000 steps, and the allocator's own habits do not.
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "llmc/core/error.h"
#include "test/files.h"
#include "test/quaff/small_model.h"

namespace {

constexpr int64_t kGrowth = 1 << 20;

void soak(const std::string& program, int64_t steps) {
    const test::TempDir folder;
    small::write_model(folder / "model");
    small::write_examples(folder / "train.jsonl", 21, 7);
    small::write_examples(folder / "eval.jsonl", 5, 8);
    const std::string twentieth = std::to_string(std::max<int64_t>(1, steps / 20)), where = folder.path();
    const std::string command = "'" + program +
                                "' train --device cpu --threads 1 --quiet --lora-r 2 --batch-size 3 --model " + where +
                                "/model --data " + where + "/train.jsonl --eval-data " + where +
                                "/eval.jsonl --max-steps " + std::to_string(steps) + " --save-steps " + twentieth +
                                " --eval-steps " + twentieth + " --out " + where + "/out";
    llmc::require(std::system(command.c_str()) == 0, "the run failed: ", command);

    std::istringstream log(test::read(folder / "out/log.jsonl"));
    int64_t step = 0, early = 0, late = 0, evaluations = 0;
    for (std::string line; std::getline(log, line);) {
        const auto object = nlohmann::json::parse(line);
        if (object.contains("eval_loss")) {
            ++evaluations;
            continue;
        }
        llmc::require(object.at("step") == ++step, "the log has step ", object.at("step").dump(), " where ", step,
                      " was due");
        late = object.at("peak_memory_bytes");
        if (step == steps / 10) early = late;
    }
    llmc::require(step == steps, "the log ends with step ", step);
    llmc::require(late - early <= kGrowth, "the peak of memory grew by ", late - early, " bytes between step ",
                  steps / 10, " and step ", steps);
    std::printf(
        "%lld steps, %lld evaluations, each logged once; peak memory %lld KiB after a tenth of them, %lld KiB at the "
        "end\n",
        static_cast<long long>(steps), static_cast<long long>(evaluations), static_cast<long long>(early >> 10),
        static_cast<long long>(late >> 10));
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 2) {
        std::fprintf(stderr, "usage: %s PROGRAM [STEPS]\n", argv[0]);
        return 2;
    }
    try {
        soak(argv[1], argc > 2 ? std::atoll(argv[2]) : 20000);
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "soak_test: %s\n", error.what());
        return 1;
    }
}
