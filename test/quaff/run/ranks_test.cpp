// Whole runs by as many ranks as there are: one in `make test`, several in `make test-mpi`. What they compute is
// compared with what rank 0 computes alone.
#include "quaff/run/ranks.h"

#include <sched.h>
#include <unistd.h>

#include <cmath>
#include <numeric>

#include "llmc/core/error.h"
#include "quaff/cli/verbs.h"
#include "quaff/files/checkpoint_folder.h"
#include "quaff/model/devices.h"
#include "quaff/quaff.h"
#include "test/catch.h"
#include "test/files.h"
#include "test/quaff/workshop.h"
#include "test/ranks.h"

using namespace quaff;

namespace {

// What the ranks compute on, and how they communicate.
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
    const int index = cuda::gpu_of_rank(test::ranks(), cuda::count_gpus());
    cuda::Gpu<float> gpu(index, {});
    const auto comm =
        alone ? nullptr : cuda::gpu_comm(ranks, index, gpu.device.stream, *value_in(cuda::kTransportNames, way));
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

// Rank 0 may take as long as a slow file system does: the others wait for it.
TEST_CASE("ranks are patient with the one that writes", "[trainer][ranks]") {
    const Workshop shop = workshop("patient");
    test::Overheard ranks(test::ranks());
    cpu::Device device;
    device.threads = 1;
    device.comm = &ranks;
    shop.run_on(device, "out", {"--batch-size", "2", "--max-steps", "3", "--save-steps", "2", "--eval-split", "0"});
    // At the start, when the folder is prepared and before the first step, then twice after a checkpoint.
    CHECK(ranks.limits_at_barriers == std::vector<double>(4, kPatience));
    CHECK(ranks.limit == kPatience);  // with the adapter that rank 0 writes last
}

// A signal reaches one rank; all have to stop.
TEST_CASE("a signal before an evaluation stops all ranks", "[trainer][ranks]") {
    Comm& ranks = test::ranks();
    const Workshop shop = workshop("signal");
    cpu::Device device;
    device.threads = 1;
    device.comm = &ranks;
    bool stopped = false;
    const nlohmann::ordered_json result =
        shop.run_on(device, "out",
                    {"--batch-size", "5", "--max-steps", "6", "--eval-steps", "2", "--save-steps", "0", "--eval-data",
                     (shop.folder / "eval.jsonl").string()},
                    &stopped, false, [&](int64_t step, int64_t, int64_t) {
                        if (step == 2 && ranks.is_first()) raise(SIGUSR1);
                    });
    CHECK(stopped);
    CHECK(result["steps"] == 2);
    if (ranks.is_first()) CHECK(fs::exists(shop.folder / "out" / "checkpoint-2"));
}

TEST_CASE("ranks leave the same bytes in every run, and log what communication cost", "[trainer][ranks]") {
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
            if (way != "nccl") CHECK(line["communication_seconds"] > 0);  // the emulator's events tell no time
        }
    }
}

// Eleven micro-batches an epoch in windows of two for each rank: in its last step some ranks have one more than others,
// who move their scales along with them before gradients are summed.
TEST_CASE("ranks with unequal shares of a step communicate in the same order", "[trainer][ranks]") {
    const Arguments arguments = {"--method",
                                 "quaff",
                                 "--gradient-accumulation-steps",
                                 "2",
                                 "--batch-size",
                                 "2",
                                 "--max-steps",
                                 "4",
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
        CHECK(lines.size() == 4);
        for (const nlohmann::json& line : lines) CHECK(std::isfinite(line["loss"].get<double>()));
    }
}

TEST_CASE("the scales of all ranks move towards the largest maxima of any", "[trainer][ranks]") {
    Comm& ranks = test::ranks();
    const Workshop shop = workshop("scales");
    const ModelFiles checkpoint(shop.folder / "model");
    const OutlierChannels outliers = most_outlier_channels(checkpoint.config(), "0.25");
    BuildOptions build;
    build.lora.r = 2;
    build.lora.lora_dropout = 0;
    build.max_tokens = build.max_sequence_length = build.max_labelled = 4;
    const bool follows = ranks.size() > 1 && ranks.rank() == ranks.size() - 1;
    // The scales after micro-batch number `rank`, or none where that is -1.
    const auto scales_of = [&](int rank, Comm& comm) {
        cpu::Device device;
        device.comm = &comm;
        const auto model = build_quantized_model(checkpoint, outliers, build, device);
        const std::vector<int32_t> ids = {1 + rank, 20 + rank, 40 - rank, 7};
        const Example example{ids, ids, 0};
        const Example* const examples[] = {&example};
        if (rank < 0)
            model->follow();
        else
            model->forward(pack(examples), 1, 0);
        return model->scales();
    };
    const std::vector<LayerScales> together = scales_of(follows ? -1 : ranks.rank(), ranks);
    // Where all that compute have the same micro-batch, they are in every layer what one rank alone makes them.
    const std::vector<LayerScales> alike = scales_of(follows ? -1 : 0, ranks), alone = scales_of(0, single_process());
    REQUIRE(alike.size() == alone.size());
    for (size_t layer = 0; layer < alone.size(); ++layer) CHECK(alike[layer].s == alone[layer].s);
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

TEST_CASE("gradients of several buckets are summed as those of one", "[trainer][ranks]") {
    test::Overheard ranks(test::ranks());
    const Workshop shop = workshop("buckets");
    const ModelFiles checkpoint(shop.folder / "model");
    // The sum over the ranks of the gradients of a micro-batch of each.
    const auto gradients = [&](Comm& comm, int64_t bucket_size, const std::vector<int>& micro_batches) {
        BuildOptions build;
        build.method = Method::fp;
        build.lora.r = 2;
        build.lora.lora_dropout = 0;
        build.max_tokens = build.max_sequence_length = build.max_labelled = 4;
        build.bucket_size = bucket_size;
        cpu::Device device;
        device.comm = &comm;
        Model<cpu::Device> model(device, checkpoint, {}, build);
        for (const int k : micro_batches) {
            const std::vector<int32_t> ids = {1 + k, 20 + k, 40 - k, 7};
            const Example example{ids, ids, 0};
            const Example* const examples[] = {&example};
            const Batch batch = pack(examples);
            model.forward(batch, 1, 0);
            model.backward(batch, /*last=*/k == micro_batches.back());
        }
        model.sum_gradients();
        return model.read(model.gradients());
    };
    const std::vector<float> in_one = gradients(ranks, int64_t{1} << 20, {ranks.rank()});
    CHECK(ranks.sums == 1);
    const std::vector<float> in_two = gradients(ranks, 1, {ranks.rank()});
    CHECK(ranks.sums == 3);  // one for each of the two blocks
    CHECK(in_two == in_one);
    std::vector<int> all(static_cast<size_t>(ranks.size()));
    std::iota(all.begin(), all.end(), 0);
    const std::vector<float> alone = gradients(single_process(), 1, all);
    REQUIRE(alone.size() == in_one.size());
    float largest = 0;
    for (const float value : alone) largest = std::max(largest, std::abs(value));
    CHECK(largest > 0);
    // fp32 sums of another order, of values up to the largest.
    for (size_t i = 0; i < alone.size(); ++i) CHECK(in_one[i] == Approx(alone[i]).margin(1e-5 * largest));
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

TEST_CASE("a run resumed with another number of ranks keeps the examples of a step", "[trainer][ranks]") {
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

TEST_CASE("ranks that resume together leave what they would have left without a stop, quantised too",
          "[trainer][ranks]") {
    const Workshop shop = workshop("resume_quaff");
    const Arguments common = {"--batch-size", "2", "--save-steps", "2", "--eval-split", "0"};
    run(shop, "cpu", false, "whole", with(common, {"--max-steps", "4"}));
    run(shop, "cpu", false, "parts", with(common, {"--max-steps", "2"}));
    run(shop, "cpu", false, "parts", with(common, {"--max-steps", "4", "--resume"}));
    if (test::ranks().is_first()) CHECK(shop.adapter("parts") == shop.adapter("whole"));
}

// A step keeps its micro-batches, one more than there are ranks.
TEST_CASE("several ranks continue what one process began", "[trainer][ranks]") {
    Comm& ranks = test::ranks();
    const Workshop shop = workshop("from_one");
    const Arguments common = {"--method",     "fp", "--batch-size", "2", "--max-steps", "5",
                              "--eval-split", "0",  "--save-steps", "3"};
    if (ranks.is_first())
        run(shop, "cpu", true, "alone",
            with(common, {"--gradient-accumulation-steps", std::to_string(ranks.size() + 1)}));
    std::string checkpoint = (shop.folder / "alone" / "checkpoint-3").string();
    ranks.broadcast(checkpoint);
    run(shop, "cpu", false, "together", with(common, {"--resume", checkpoint}));
    if (ranks.is_first()) check_near(figures(shop, "together"), figures(shop, "alone"), 1e-5);  // as above
}

TEST_CASE("ranks evaluate and calibrate as one process does", "[trainer][ranks]") {
    Comm& ranks = test::ranks();
    const Workshop shop = workshop("verbs");
    // What the verb prints at its end.
    const auto said = [&](Comm& comm, const std::string& verb, const Arguments& more) {
        const fs::path file = shop.folder / (verb + ".txt");
        std::FILE* sink = std::fopen(file.c_str(), "w");
        {
            Terminal terminal(sink, /*quiet=*/true);
            cpu::Device device;
            device.threads = 1;
            device.comm = &comm;
            const Arguments line = with({verb, "--model", (shop.folder / "model").string(), "--data",
                                         (shop.folder / "train.jsonl").string(), "--batch-size", "2"},
                                        more);
            CHECK(cli::run_verb(cli::parse(line), terminal, device) == cli::kDone);
        }
        std::fclose(sink);
        return test::read(file);
    };
    const std::string channels = (shop.folder / "channels.json").string();
    const Arguments calibration = {"--outliers", channels, "--outlier-max-ratio", "0.125"};
    const std::string calibrated = said(ranks, "calibrate", calibration), made = test::read(channels);
    const std::string evaluated = said(ranks, "eval", {"--method", "fp"});
    if (!ranks.is_first()) return;
    CHECK(said(single_process(), "calibrate", calibration) == calibrated);
    CHECK(test::read(channels) == made);
    CHECK_THAT(calibrated, Catch::Matchers::ContainsSubstring("outlier channels of 8 layers"));
    CHECK(said(single_process(), "eval", {"--method", "fp"}) == evaluated);
    CHECK_THAT(evaluated, Catch::Matchers::ContainsSubstring("21 examples"));
}

TEST_CASE("what ranks must have in common is compared", "[ranks]") {
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
    // mpirun lets all run everywhere, or binds some to cores of their own.
    std::vector<double> total = {static_cast<double>(fair_threads(ranks))};
    ranks.sum(total);
    const long cores = sysconf(_SC_NPROCESSORS_ONLN);
    CHECK(total[0] >= ranks.size());
    CHECK(total[0] <= std::max<double>(ranks.size(), static_cast<double>(cores)));
    cpu_set_t mine;
    REQUIRE(sched_getaffinity(0, sizeof mine, &mine) == 0);
    if (ranks.size() == 1) CHECK(total[0] == CPU_COUNT(&mine));
}
