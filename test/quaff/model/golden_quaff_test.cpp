// The methods in int8 against dev/reference/quaff_reference.py, an implementation of their equations in PyTorch that
// shares nothing with this one.
//
// A value within fp32 noise of a rounding boundary may round the other way here, because sums run in another order:
// one int8 step in one element, and everything after it moves. The `exact` goldens use batches on which the reference
// found no value of any pass within 3e-4 of an int8 step of a boundary (fp32 noise is some 3e-5), so there the bounds
// are those of full precision. The `train` goldens use ordinary batches; their bounds come from `spread`, how far the
// reference itself moves when its embeddings are disturbed by 1e-6.
#include "quaff/model/calibrate.h"
#include "test/catch.h"
#include "test/quaff/golden.h"

using namespace golden;

namespace {

void append(std::vector<float>& all, const std::vector<float>& more) {
    all.insert(all.end(), more.begin(), more.end());
}

}  // namespace

TEST_CASE("quaff evaluates and trains exactly as the reference where no value is near a rounding boundary",
          "[golden]") {
    for (const auto& [name, variant] : kQuaffVariants) {
        CAPTURE(name, variant);
        const QuaffCase test(name, variant);
        const json& expected = test.numbers["exact"];
        const auto bound = [&](const char* kind, double noise) { return bound_of(expected, kind, noise); };
        const auto model = test.build();
        const AdamWOptions adamw = adamw_options(test.numbers);
        std::vector<float> logits;

        const Batch first = make_batch(expected["evaluate_first"][0]);
        append(logits, model->logits(first));
        CHECK(mean_loss(model->evaluate(first)) ==
              Approx(expected["eval_losses"][0].get<double>()).epsilon(bound("eval_losses", 1e-5)));
        CHECK(test.scales_distance(*model, "exact", 0) < 1e-6);  // evaluation moves no scale

        const std::vector<Batch> batches = make_batches(expected["batches"]);
        for (size_t i = 0; i < batches.size(); i++) {
            const int64_t step = static_cast<int64_t>(i) + 1;
            CAPTURE(step);
            const StepResult result = train_step(*model, batches[i], adamw, test.numbers["max_grad_norm"], step);
            CHECK(result.loss == Approx(expected["losses"][i].get<double>()).epsilon(bound("losses", 1e-5)));
            CHECK(result.gradient_norm ==
                  Approx(expected["grad_norms"][i].get<double>()).epsilon(bound("grad_norms", 1e-4)));
            CHECK(test.scales_distance(*model, "exact", step) < 1e-4);
            if (step == 1) CHECK(adapter_distance(*model, test.tensors, "exact.grad.") < bound("gradients", 1e-4));
        }

        const Batch last = make_batch(expected["evaluate_last"][0]);
        append(logits, model->logits(last));
        CHECK(mean_loss(model->evaluate(last)) ==
              Approx(expected["eval_losses"][1].get<double>()).epsilon(bound("eval_losses", 1e-5)));
        CHECK(distance(logits, test.tensors, "exact.logits") < bound("logits", 1e-4));
        CHECK(adapter_distance(*model, test.tensors, "exact.final.") < bound("adapter", 1e-4));
    }
}

TEST_CASE("quaff training follows the reference as closely as the reference follows itself", "[golden]") {
    for (const auto& [name, variant] : kQuaffVariants) {
        CAPTURE(name, variant);
        const QuaffCase test(name, variant);
        const json& expected = test.numbers["train"];
        const auto model = test.build();
        const AdamWOptions adamw = adamw_options(test.numbers);
        // Twice the largest of eight disturbed runs: this run is one more of the same kind.
        const auto bound = [&](const char* kind) { return 2 * expected["spread"][kind].get<double>(); };

        const std::vector<Batch> batches = make_batches(expected["batches"]);
        std::vector<float> scales, expected_scales;
        for (size_t i = 0; i < batches.size(); i++) {
            const int64_t step = static_cast<int64_t>(i) + 1;
            CAPTURE(step);
            const StepResult result = train_step(*model, batches[i], adamw, test.numbers["max_grad_norm"], step);
            CHECK(result.loss == Approx(expected["losses"][i].get<double>()).epsilon(bound("losses")));
            for (const quaff::LayerScales& layer : model->scales()) {
                append(scales, layer.s);
                append(expected_scales, test.expected_scales(layer, "train", step));
            }
        }
        // All layers and steps by one yardstick, as the reference measures its spread.
        CHECK(distance(scales, expected_scales) <= bound("scales"));
        const std::vector<Batch> evaluations = make_batches(expected["evaluate_last"]);
        for (size_t i = 0; i < evaluations.size(); i++) {
            const double loss = mean_loss(model->evaluate(evaluations[i]));
            CHECK(loss == Approx(expected["eval_losses"][i].get<double>()).epsilon(bound("eval_losses")));
        }
    }
}

// The bound of bf16 on CUDA (test/quaff/cuda/model_test.cpp): what is rounded near a boundary of int8 becomes a step of
// 1/127 of the row's maximum.
TEST_CASE("with products in bf16, quaff training stays near the reference", "[golden]") {
    for (const auto& [name, variant] : kQuaffVariants) {
        CAPTURE(name, variant);
        const QuaffCase test(name, variant);
        const json& expected = test.numbers["train"];
        const auto model = test.build(one_thread_in_bf16());
        const std::vector<Batch> batches = make_batches(expected["batches"]);
        const std::vector<StepResult> results = train(*model, test.numbers, batches, batches.size());
        for (size_t i = 0; i < results.size(); i++) {
            CAPTURE(i);
            CHECK(results[i].loss == Approx(expected["losses"][i].get<double>()).epsilon(0.02));
            CHECK(results[i].loss != Approx(expected["losses"][i].get<double>()).epsilon(1e-6));
        }
    }
}

// The goldens are made on batches where no rank or count hangs on fp32 noise, so the channels must be the very same.
TEST_CASE("calibration finds the reference's channels with every strategy", "[golden]") {
    for (const std::string name : kQuaffModels) {
        const QuaffCase test(name);
        const std::vector<Batch> batches = make_batches(test.full_precision["batches"]);
        for (const std::string file : {"token_max", "mean_times", "static", "zscore", "top_abs", "all"}) {
            if (file == "all" && name != "llama_gqa" && name != "phi3") continue;  // of smooth-static's cases
            CAPTURE(name, file);
            const quaff::OutlierChannels expected =
                quaff::read_outlier_channels(directory(name) / "outlier" / (file + ".json"), test.checkpoint.config());
            quaff::CalibrationOptions options;
            options.strategy = value_in(quaff::kOutlierStrategyNames, expected.strategy).value();
            options.threshold = expected.threshold;
            options.max_ratio = quaff::MaxRatio(expected.max_ratio);
            const auto check = [&](const quaff::OutlierChannels& found) {
                CHECK(found.channels == expected.channels);
                CHECK(found.samples == expected.samples);
                REQUIRE(found.max_abs.size() == expected.max_abs.size());
                for (const auto& [module, maxima] : expected.max_abs) {
                    CAPTURE(module);
                    CHECK(distance(found.max_abs.at(module), maxima) < 1e-5);  // fp32 sums in another order
                }
            };
            check(quaff::calibrate(one_thread(), test.checkpoint, batches, options));
            // With memory for one batch's hidden states at a time every batch is a group of its own; batches stay
            // whole.
            options.hidden_state_limit = 1;
            check(quaff::calibrate(one_thread(), test.checkpoint, batches, options));
        }
    }
}
