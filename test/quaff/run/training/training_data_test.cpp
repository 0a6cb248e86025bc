// What a run trains and evaluates on: several files, the same file twice, runs of any length.
#include "quaff/run/training/training_data.h"

#include <chrono>

#include "quaff/run/open_model.h"
#include "test/catch.h"
#include "test/quaff/program.h"
#include "test/quaff/workshop.h"

using namespace quaff;
using Arguments = std::vector<std::string>;

namespace {

struct Read {
    TrainingData data;
    std::string told;
};

// Reads the data of these options; `plan` is shown them.
Read read(const Workshop& shop, const Arguments& arguments,
          const std::function<void(const Options&, const TrainingData&, const ExampleReader&, const ModelConfig&)>&
              plan = nullptr) {
    const Options options = shop.options("out", arguments);
    const std::string lines = (shop.folder / "told.txt").string(), notes = (shop.folder / "notes.txt").string();
    const auto take = [&] {
        const program::Redirection into_file(stderr, notes);
        std::FILE* sink = std::fopen(lines.c_str(), "w");
        Terminal terminal(sink, false);
        const ModelFiles files = open_model(options, terminal);
        const ExampleReader reader(options, files.config(), terminal);
        TrainingData data = read_training_data(options, files.config(), reader, terminal);
        if (plan) plan(options, data, reader, files.config());
        std::fclose(sink);
        return data;
    };
    Read read{take(), ""};
    read.told = small::read_text(lines) + small::read_text(notes);
    return read;
}

}  // namespace

TEST_CASE("several files of several kinds are one data set, in their order", "[trainer][data]") {
    const Workshop shop("several");
    const std::string one = (shop.folder / "one.jsonl").string(), two = (shop.folder / "two.csv").string();
    small::write_text(one, "{\"input_ids\": [5, 6, 7]}\n{\"input_ids\": [6]}\n{\"input_ids\": [7, 8], \"id\": 1}\n");
    small::write_text(two, "input_ids,note\n\"[9, 10]\",x\n");
    const auto [data, told] = read(shop, {"--data", one, "--data", two, "--eval-split", "0"});
    REQUIRE(data.train.size() == 3);
    CHECK(data.train.examples[0].input_ids == std::vector<int32_t>{5, 6, 7});
    CHECK(data.train.examples[2].input_ids == std::vector<int32_t>{9, 10});
    CHECK(data.train.place(1) == one + ": example 3");
    CHECK(data.train.place(2) == two + ": example 1");
    CHECK(data.train.dropped.nothing_labelled == 1);
    for (const std::string& part :
         {one + ": 2 examples", two + ": 1 example,", std::string("2 files together: 3 examples, 7 tokens"),
          one + ": columns that nothing reads: \"id\"", two + ": columns that nothing reads: \"note\""}) {
        CAPTURE(part, told);
        CHECK(told.find(part) != told.npos);
    }
    CHECK(told.find("trained on and evaluated on") == told.npos);

    // Held-out examples know their file as well.
    const auto [split, ignored] = read(shop, {"--data", one, "--data", two, "--eval-split", "0.4"});
    CHECK(split.train.size() == 2);
    CHECK(split.eval.size() == 1);
    CHECK(split.eval.place(0).find(": example ") != std::string::npos);
}

TEST_CASE("a file that is trained on and evaluated on is told once", "[trainer][data]") {
    const Workshop shop("both");
    const std::string file = (shop.folder / "train.jsonl").string();
    const std::string told =
        read(shop, {"--data", file, "--eval-data", (shop.folder / "." / "train.jsonl").string()}).told;
    const std::string warning = file + " is trained on and evaluated on";
    CHECK(told.find(warning) != told.npos);
    CHECK(told.find(warning) == told.rfind(warning));
}

TEST_CASE("a run of a thousand million steps is planned at once", "[trainer][data]") {
    const Workshop shop("endless");
    const auto plan = [](const Options& options, const TrainingData& data, const ExampleReader& reader,
                         const ModelConfig& config) {
        const auto begin = std::chrono::steady_clock::now();
        const StepPlan endless = plan_steps(options, data, reader, config, 1);
        CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(20));  // a step each would take hours
        CHECK(endless.total_steps == 1000000000);
        Options few = options;
        few.training.max_steps = 500;
        BatchLimits both = endless.limits;
        both.include(plan_steps(few, data, reader, config, 1).limits);
        CHECK(both == endless.limits);
    };
    read(shop, {"--max-steps", "1000000000", "--batch-size", "2"}, plan);
}
