// Whole runs by as many ranks as there are: one in `make test`, which has nobody to differ from, more in
// `make test-mpi`. What they compute is compared with what rank 0 computes alone.
#include "quaff/ranks.h"

#include "llmc/error.h"
#include "quaff/checkpoint_folder.h"
#include "quaff/devices.h"
#include "test/catch.h"
#include "test/files.h"
#include "test/quaff/workshop.h"
#include "test/ranks.h"

using namespace quaff;

namespace {

// What the ranks compute on, and how they talk.
const std::vector<std::string> kWays = {"cpu",
#ifdef LLMC_CUDA
                                        "nccl", "mpi"
#endif
};

using Arguments = std::vector<std::string>;

// A run of all ranks or, where `alone`, of one. Every rank has a folder of its own with the same model and data.
void run(const Workshop& shop, const std::string& way, bool alone, const std::string& out, const Arguments& more) {
    Comm& ranks = alone ? single_process() : test::ranks();
    if (way == "cpu") {
        cpu::Device device;
        device.threads = 1;
        device.comm = &ranks;
        shop.run_on(device, out, more);
    }
#ifdef LLMC_CUDA
    if (way == "cpu") return;
    const int index = cuda::gpu_of_rank(test::ranks(), cuda::count_gpus(), false);
    cuda::Gpu<float> gpu(index, {});
    const auto comm = alone ? nullptr : cuda::gpu_comm(ranks, index, gpu.device.stream, way);
    if (comm) gpu.device.comm = comm.get();
    shop.run_on(gpu.device, out, more);
#endif
}

Workshop workshop(const std::string& name) {
    return Workshop(name + "_rank_" + std::to_string(test::ranks().rank()));
}

Arguments with(Arguments arguments, const Arguments& more) {
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
}

// The losses and gradient norms of the steps that rank 0 logged.
std::vector<double> figures(const Workshop& shop, const std::string& out) {
    std::vector<double> figures;
    for (const nlohmann::json& line : shop.log(out))
        for (const char* name : {"loss", "grad_norm", "eval_loss"})
            if (line.contains(name)) figures.push_back(line[name]);
    return figures;
}

void check_near(const std::vector<double>& values, const std::vector<double>& expected, double bound) {
    REQUIRE(values.size() == expected.size());
    for (size_t i = 0; i < values.size(); ++i) CHECK(values[i] == Approx(expected[i]).epsilon(bound));
}

}  // namespace

// 21 examples in micro-batches of two: an epoch's last step has fewer than the others, and no share for every rank.
TEST_CASE("ranks train as one process does that accumulates all of their micro-batches", "[trainer][ranks]") {
    Comm& ranks = test::ranks();
    for (const std::string& way : kWays) {
        INFO(way);
        const Workshop shop = workshop("alike");
        const Arguments common = {"--method",     "fp", "--batch-size", "2",
                                  "--max-steps",  "10", "--save-steps", "0",
                                  "--eval-steps", "5",  "--eval-data",  (shop.folder / "eval.jsonl").string()};
        run(shop, way, false, "together", with(common, {"--gradient-accumulation-steps", "2"}));
        if (!ranks.is_first()) continue;
        run(shop, way, true, "alone",
            with(common, {"--gradient-accumulation-steps", std::to_string(2 * ranks.size())}));
        // fp32 sums of another order: 1e-7 each, and ten steps of AdamW, which divides by small numbers.
        check_near(figures(shop, "together"), figures(shop, "alone"), 1e-5);
        CHECK(figures(shop, "together").size() == 23);
    }
}

TEST_CASE("ranks leave the same bytes whenever they train, and log what it cost to talk", "[trainer][ranks]") {
    Comm& ranks = test::ranks();
    const Arguments common = {"--batch-size", "2", "--max-steps", "5", "--save-steps", "2", "--eval-split", "0"};
    for (const std::string& way : kWays) {
        INFO(way);
        const Workshop shop = workshop("bytes");
        run(shop, way, false, "once", common);  // compares the ranks' state at every checkpoint
        run(shop, way, false, "again", common);
        if (!ranks.is_first()) {
            CHECK_FALSE(fs::exists(shop.folder / "once"));
            continue;
        }
        CHECK(shop.adapter("once").size() > 1000);
        CHECK(shop.adapter("once") == shop.adapter("again"));
        CHECK(figures(shop, "once") == figures(shop, "again"));
        const nlohmann::json line = shop.log("once").back();
        CHECK(line.contains("communication_seconds") == (ranks.size() > 1));
        if (ranks.size() > 1) {
            CHECK(line["ranks"] == ranks.size());
            CHECK(line["communication_bytes"] > 1000);
            CHECK(line["communication_seconds"] >= 0);
        }
    }
}

// Eleven micro-batches an epoch in windows of two for each rank: in its last step some ranks have one more than others,
// who move their scales along with them before gradients are summed.
TEST_CASE("ranks with unequal shares of a step talk in the same order", "[trainer][ranks]") {
    const Arguments arguments = {"--method",
                                 "quaff",
                                 "--gradient-accumulation-steps",
                                 "2",
                                 "--batch-size",
                                 "2",
                                 "--max-steps",
                                 "8",
                                 "--save-steps",
                                 "1",
                                 "--eval-split",
                                 "0",
                                 "--comm-timeout",
                                 "5"};
    for (const std::string& way : kWays) {
        INFO(way);
        const Workshop shop = workshop("unequal");
        run(shop, way, false, "out", arguments);
        if (!test::ranks().is_first()) continue;
        const std::vector<nlohmann::json> lines = shop.log("out");
        CHECK(lines.size() == 8);
        CHECK(lines.back()["loss"] < lines.front()["loss"]);
    }
}

TEST_CASE("the scales of all ranks move towards the largest maxima of any", "[trainer][ranks]") {
    Comm& ranks = test::ranks();
    const Workshop shop = workshop("scales");
    const CheckpointReader checkpoint(shop.folder / "model");
    const OutlierChannels outliers = most_outlier_channels(checkpoint.config(), "0.25");
    BuildOptions build;
    build.lora.r = 2;
    build.lora.dropout = 0;
    build.max_tokens = build.max_sequence_length = build.max_labelled = 4;
    // The scales after one micro-batch of its own for each rank but the last, which has none.
    const auto scales_of = [&](int rank, Comm& comm) {
        cpu::Device device;
        device.comm = &comm;
        const auto model = build_quantized_model(checkpoint, outliers, build, device);
        const std::vector<int32_t> ids = {1 + rank, 20 + rank, 40 - rank, 7};
        const Example example{ids, ids, 0};
        const Example* const examples[] = {&example};
        if (comm.size() > 1 && rank == comm.size() - 1)
            model->follow();
        else
            model->forward(pack(examples), 1, 0);
        return model->scales();
    };
    const std::vector<LayerScales> together = scales_of(ranks.rank(), ranks);
    // Nothing before the lowest layer depends on scales: there they are what the largest maxima make them.
    std::vector<float> expected;
    for (int rank = 0; rank < std::max(1, ranks.size() - 1); ++rank) {
        const std::vector<float> alone = scales_of(rank, single_process()).front().s;
        expected.resize(alone.size());
        for (size_t j = 0; j < alone.size(); ++j) expected[j] = std::max(expected[j], alone[j]);
    }
    CHECK(together.front().s == expected);
    CHECK(expected.size() == 8);
    // The same on all ranks, in every layer.
    for (const LayerScales& layer : together) {
        Facts facts;
        for (const float s : layer.s) facts.emplace_back(layer.module, std::to_string(s));
        CHECK(layer.initialised);
        CHECK_NOTHROW(require_same(ranks, facts));
    }
}

TEST_CASE("ranks that share the calibration find the outliers that one process finds", "[trainer][ranks]") {
    for (const std::string strategy : {"token_max", "mean_times", "top_abs"}) {
        INFO(strategy);
        const Workshop shop = workshop("calibration");
        const Arguments arguments = {"--batch-size", "2", "--max-steps",        "1",      "--save-steps",        "0",
                                     "--eval-split", "0", "--outlier-strategy", strategy, "--outlier-threshold", "2"};
        run(shop, "cpu", false, "together", arguments);
        if (!test::ranks().is_first()) continue;
        run(shop, "cpu", true, "alone", arguments);
        CHECK(test::read(shop.folder / "together" / "outliers.json") ==
              test::read(shop.folder / "alone" / "outliers.json"));
    }
}

TEST_CASE("a run goes on with another number of ranks and the same examples in a step", "[trainer][ranks]") {
    Comm& ranks = test::ranks();
    const Workshop shop = workshop("resume");
    const Arguments common = {"--method", "fp", "--batch-size", "2", "--save-steps", "2", "--eval-split", "0"};
    run(shop, "cpu", false, "whole", with(common, {"--max-steps", "6"}));
    run(shop, "cpu", false, "parts", with(common, {"--max-steps", "4"}));
    // Together again: the same bytes as if it had never stopped.
    run(shop, "cpu", false, "parts", with(common, {"--max-steps", "6", "--resume"}));
    if (!ranks.is_first()) return;
    CHECK(shop.adapter("parts") == shop.adapter("whole"));
    const std::string checkpoint = (shop.folder / "whole" / "checkpoint-4").string();
    run(shop, "cpu", true, "alone", with(common, {"--max-steps", "6", "--resume", checkpoint}));
    check_near(figures(shop, "alone"), figures(shop, "whole"), 1e-5);  // as above
}

TEST_CASE("what ranks have to share is compared", "[ranks]") {
    Comm& ranks = test::ranks();
    CHECK_NOTHROW(require_same(ranks, {{"--seed", "1"}, {"model", "abc"}}));
    const std::string other = ranks.rank() == ranks.size() - 1 ? "2" : "1";
    const std::string error = test::error_of([&] { require_same(ranks, {{"model", "abc"}, {"--seed", other}}); });
    const bool told = ranks.is_first() && ranks.size() > 1;
    CHECK(error == (told ? concat("rank ", ranks.size() - 1, " has another --seed than rank 0: 2, not 1. All ranks ",
                                  "have to be started alike")
                         : ""));
}

TEST_CASE("the ranks of a host divide its cores", "[ranks]") {
    Comm& ranks = test::ranks();
    CHECK(fair_threads(ranks) >= 1);
    CHECK(fair_threads(ranks) <= omp_get_num_procs());
}
