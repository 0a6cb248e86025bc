// The whole model on CUDA against the same goldens as the CPU's, which transformers, PEFT and the independent reference
// of the method wrote: everything an operator's own test cannot see, because it lies between two of them.
#include "llmc/cuda/runtime/gpu.h"
#include "test/catch.h"
#include "test/files.h"
#include "test/llmc/cuda/support.h"
#include "test/quaff/divergence.h"

using namespace golden;

namespace {

template <class T>
std::vector<std::pair<size_t, T>> enumerate(const std::vector<T>& values) {
    std::vector<std::pair<size_t, T>> numbered;
    for (const T& value : values) numbered.emplace_back(numbered.size(), value);
    return numbered;
}

template <class T>
using CudaModel = quaff::Model<cuda::Device<T>>;

// One golden case in full precision, and the model it is about.
template <class T>
struct Case {
    explicit Case(const std::string& name)
        : numbers(read_json(directory(name) / "golden.json")),
          tensors(directory(name) / "golden.safetensors"),
          checkpoint(directory(name) / "model"),
          batches(make_batches(numbers["batches"])),
          options(build_options(numbers, Method::fp)) {
        model = std::make_unique<CudaModel<T>>(gpu.device, checkpoint, quaff::OutlierChannels{}, options);
        golden::load_adapter(*model, directory(name) / "adapter");
    }

    json numbers;
    SafetensorsFile tensors;
    ModelFiles checkpoint;
    std::vector<Batch> batches;
    BuildOptions options;
    cuda::Gpu<T> gpu{0, {}};
    std::unique_ptr<CudaModel<T>> model;
};

}  // namespace

// The bounds of golden_fp_test.cpp: the same arithmetic in fp32, summed in another order.
TEST_CASE("on CUDA in fp32, logits, gradients and ten steps equal those of transformers and PEFT", "[cuda][golden]") {
    for (const std::string name : kModels) {
        CAPTURE(name);
        Case<float> test(name);
        const std::vector<float> logits = test.model->logits(test.batches[0]);
        const int64_t vocab_size = test.checkpoint.config().vocab_size;
        std::vector<float> rows;
        for (int64_t row : test.numbers["logits_rows"])
            rows.insert(rows.end(), logits.begin() + row * vocab_size, logits.begin() + (row + 1) * vocab_size);
        CHECK(distance(rows, test.tensors, "logits") < 1e-5);

        const Batch& batch = test.batches[0];
        test.model->zero_gradients();
        test.model->forward(batch, 1.0f / static_cast<float>(batch.n_labelled()), 0);
        test.model->backward(batch);
        CHECK(adapter_distance(*test.model, test.tensors, "grad.") < 1e-4);

        const std::vector<StepResult> steps = train(*test.model, test.numbers, test.batches, test.numbers["steps"]);
        for (size_t i = 0; i < steps.size(); i++) {
            CAPTURE(i);
            CHECK(steps[i].loss == Approx(test.numbers["losses"][i].get<double>()).epsilon(1e-5));
            CHECK(steps[i].gradient_norm == Approx(test.numbers["grad_norms"][i].get<double>()).epsilon(1e-4));
        }
        // Twice the CPU's bound: where a gradient cancels to nearly nothing, its sum's order decides AdamW's step,
        // which is 1e-2 long whatever the gradient's size.
        CHECK(adapter_distance(*test.model, test.tensors, "final.") < 2e-4);
    }
}

// As in golden_quaff_test.cpp: batches on which nothing lies near a rounding boundary, so that the bounds are those of
// full precision.
TEST_CASE("on CUDA in fp32, quaff evaluates and trains exactly as the reference", "[cuda][golden]") {
    for (const auto& [name, variant] : kQuaffVariants) {
        CAPTURE(name, variant);
        const QuaffCase test(name, variant);
        const cuda::Gpu<float> gpu(0, {});
        const auto model = test.build(gpu.device);
        const json& expected = test.numbers["exact"];
        const auto bound = [&](const char* kind, double noise) { return bound_of(expected, kind, noise); };
        const std::vector<Batch> batches = make_batches(expected["batches"]);
        for (size_t i = 0; i < batches.size(); i++) {
            const int64_t step = static_cast<int64_t>(i) + 1;
            CAPTURE(step);
            const StepResult result =
                train_step(*model, batches[i], adamw_options(test.numbers), test.numbers["max_grad_norm"], step);
            CHECK(result.loss == Approx(expected["losses"][i].get<double>()).epsilon(bound("losses", 1e-5)));
            CHECK(result.gradient_norm ==
                  Approx(expected["grad_norms"][i].get<double>()).epsilon(bound("grad_norms", 1e-4)));
            CHECK(test.scales_distance(*model, "exact", step) < 1e-4);
            if (step == 1) CHECK(adapter_distance(*model, test.tensors, "exact.grad.") < bound("gradients", 1e-4));
        }
        CHECK(adapter_distance(*model, test.tensors, "exact.final.") < bound("adapter", 1e-4));
        const Batch last = make_batch(expected["evaluate_last"][0]);
        CHECK(mean_loss(model->evaluate(last)) ==
              Approx(expected["eval_losses"][1].get<double>()).epsilon(bound("eval_losses", 1e-5)));
    }
}

// 16-bit storage rounds every activation by up to 2^-9 (bf16) or 2^-12 (fp16) of itself, some twenty times a layer,
// independently: the first loss is off by less than twice that. AdamW then divides each gradient by its own size, and
// what rounding did to the smallest ones moves the adapter: four times the bound, two in bf16. int8 turns what is
// rounded near a boundary into a step of 1/127 of the row's maximum; quaff's bound is what that does to these losses,
// twice, or twice what the reference moves when it is disturbed: naive int8 has the largest steps.
TEMPLATE_TEST_CASE("on CUDA in 16 bits, losses stay near those in fp32", "[cuda][golden]", cuda::bf16, cuda::fp16) {
    constexpr bool kBf16 = std::is_same_v<TestType, cuda::bf16>;
    constexpr double kFirstLoss = kBf16 ? 0.004 : 0.0005, kLaterLosses = kBf16 ? 0.01 : 0.002;
    for (const std::string name : kQuaffModels) {
        CAPTURE(name);
        Case<TestType> full(name);
        for (const auto& [i, step] : enumerate(train(*full.model, full.numbers, full.batches, full.numbers["steps"]))) {
            CAPTURE(i);
            const double bound = i == 0 ? kFirstLoss : kLaterLosses;
            CHECK(step.loss == Approx(full.numbers["losses"][i].template get<double>()).epsilon(bound));
        }
    }
    for (const auto& [name, variant] : kQuaffVariants) {
        CAPTURE(name, variant);
        const QuaffCase test(name, variant);
        const cuda::Gpu<TestType> gpu(0, {});
        const auto model = test.build(gpu.device);
        const json& expected = test.numbers["train"];
        const std::vector<Batch> batches = make_batches(expected["batches"]);
        for (const auto& [i, step] : enumerate(train(*model, test.numbers, batches, batches.size()))) {
            CAPTURE(i);
            const double bound = std::max(kBf16 ? 0.02 : 0.01, 2 * expected["spread"]["losses"].template get<double>());
            CHECK(step.loss == Approx(expected["losses"][i].template get<double>()).epsilon(bound));
        }
    }
}

TEST_CASE("on CUDA, neither the schedule nor recomputing changes a bit of training", "[cuda][golden]") {
    const char* variant = GENERATE("rotated", "llm_int8", "smooth_dynamic");  // the last two keep things for backward
    CAPTURE(variant);
    std::vector<std::vector<float>> adapters;
    for (const quaff::Recompute recompute : {quaff::Recompute::none, quaff::Recompute::block}) {
        QuaffCase test("llama_gqa", variant);
        test.options.lora.lora_dropout = 0.1;
        test.options.recompute = recompute;
        const std::vector<Batch> batches = make_batches(test.numbers["train"]["batches"]);
        cuda_test::for_each_schedule([&] {
            const cuda::Gpu<cuda::bf16> gpu(0, {});
            const auto model = test.build(gpu.device);
            for (int64_t step = 1; step <= 2; step++)
                train_step(*model, batches[static_cast<size_t>(step)], adamw_options(test.numbers), 1, step);
            adapters.push_back(model->read(model->parameters()));
        });
    }
    for (const std::vector<float>& adapter : adapters) CHECK(adapter == adapters[0]);
}

TEST_CASE("on CUDA, a rehearsal changes no bit of what is trained afterwards", "[cuda][golden]") {
    std::vector<std::vector<float>> adapters;
    QuaffCase test("llama_gqa");
    test.options.lora.lora_dropout = 0.1;
    const std::vector<Batch> batches = make_batches(test.numbers["train"]["batches"]);
    for (const bool rehearsed : {false, true}) {
        const cuda::Gpu<cuda::bf16> gpu(0, {});
        const auto model = test.build(gpu.device);
        if (rehearsed)
            for (const Batch& batch : batches) model->rehearse(batch);
        for (int64_t step = 1; step <= 2; step++)
            train_step(*model, batches[static_cast<size_t>(step)], adamw_options(test.numbers), 1, step);
        adapters.push_back(model->read(model->parameters()));
    }
    CHECK(adapters[0] == adapters[1]);
}

// cudaMalloc takes whole pages of 2 MiB, one allocation for each of the plan's kinds of memory.
TEST_CASE("on CUDA, a model takes the memory that was planned", "[cuda][golden]") {
    const QuaffCase test("llama_gqa");
    const cuda::Gpu<cuda::fp16> gpu(0, {});
    const auto model = test.build(gpu.device);
    const int64_t pages = static_cast<int64_t>(quaff::MemoryKind::count) * (int64_t{2} << 20);
    CHECK(gpu.device.peak_memory() >= model->plan().total());
    CHECK(gpu.device.peak_memory() <= model->plan().total() + pages);
#ifdef LLMC_EMULATED
    CHECK(gpu.device.peak_memory() == model->plan().total());
#endif
}

#ifdef LLMC_EMULATED
TEST_CASE("on CUDA, a step allocates nothing, times nothing and waits only when it asks for its losses",
          "[cuda][golden]") {
    const test::TempDir choices;
    QuaffCase test("llama_gqa");
    test.options.lora.lora_dropout = 0.1;
    test.options.recompute = quaff::Recompute::block;
    const cuda::Gpu<cuda::bf16> gpu(0, choices.path());
    const auto model = test.build(gpu.device);
    const std::vector<Batch> batches = make_batches(test.numbers["train"]["batches"]);
    for (const Batch& batch : batches) model->rehearse(batch);
    cuda::end_rehearsal(gpu.device);
    const std::string chosen = test::read(gpu.device.blas->choices_file());
    CHECK(!chosen.empty());

    const emu::HostCalls before = emu::host_calls();
    model->keep_scales();
    for (int64_t step = 1; step <= 2; step++) {
        const Batch& batch = batches[static_cast<size_t>(step)];
        model->zero_gradients();
        model->forward(batch, 1.0f / static_cast<float>(batch.n_labelled()), static_cast<uint64_t>(step));
        model->backward(batch);
        model->step(adamw_options(test.numbers), step, 1.0f);
    }
    CHECK(emu::host_calls().waits == before.waits);
    model->losses();
    model->gradient_norm();
    CHECK(emu::host_calls().waits > before.waits);
    CHECK(emu::host_calls().allocations == before.allocations);
    CHECK(test::read(gpu.device.blas->choices_file()) == chosen);
}
#endif

TEST_CASE("on CUDA, generation with a key/value cache gives the logits of the whole sequence", "[cuda][golden]") {
    for (const std::string name : {"llama_gqa", "mistral_window", "phi3_longrope", "qwen3", "smollm3"}) {
        CAPTURE(name);
        Case<float> test(name);
        const std::vector<int32_t>& cu_seqlens = test.batches[0].cu_seqlens;
        const std::vector<int32_t> ids(test.batches[0].input_ids.begin(),
                                       test.batches[0].input_ids.begin() + cu_seqlens[1]);
        quaff::Generator<cuda::Device<float>> generator(*test.model, cu_seqlens[1]);
        generator.prefill(std::span(ids).first(1));
        for (size_t i = 1; i < ids.size(); i++) {
            CAPTURE(i);
            const std::span<const float> next = generator.decode(ids[i]);
            const std::vector<int32_t> prefix(ids.begin(), ids.begin() + static_cast<int64_t>(i) + 1);
            const std::vector<int32_t> labels(prefix.size(), kIgnoreLabel);
            const std::vector<float> all = test.model->logits(
                make_batch({{"input_ids", prefix}, {"labels", labels}, {"cu_seqlens", {0, prefix.size()}}}));
            CHECK(distance(std::vector<float>(next.begin(), next.end()), std::span(all).last(next.size())) < 1e-5);
        }
    }
}

TEST_CASE("on CUDA, calibration finds the channels that the CPU finds", "[cuda][golden]") {
    for (const std::string name : {"llama_gqa", "phi3", "qwen3", "smollm3"}) {
        CAPTURE(name);
        Case<float> test(name);
        const quaff::OutlierChannels found = quaff::calibrate(test.gpu.device, test.checkpoint, test.batches, {});
        const quaff::OutlierChannels expected = quaff::calibrate(one_thread(), test.checkpoint, test.batches, {});
        CHECK(found.channels == expected.channels);
    }
}

TEST_CASE("on CUDA the divergence of two models is that of their logits' softmax", "[cuda][divergence]") {
    const QuaffCase test("llama_gqa");
    const Batch batch = make_batch(test.full_precision["batches"][0]);
    cuda::Gpu<float> gpu{0, {}};
    const auto build = [&](Method method) {
        BuildOptions options = with_room_for(test.options, batch);
        options.method = method;
        auto model = std::make_unique<CudaModel<float>>(gpu.device, test.checkpoint, test.outliers, options);
        load_adapter(*model, directory(test.numbers["case"]) / "adapter");
        return model;
    };
    const auto full = build(Method::fp), quantised = build(Method::quaff);
    const double expected = expected_divergence(*full, *quantised, batch);
    full->evaluate(batch);
    quantised->evaluate(batch);
    // 1e-8 a row: fp32's exponentials.
    CHECK(quantised->divergence_from(*full) ==
          Approx(expected).epsilon(1e-4).margin(1e-8 * static_cast<double>(batch.n_labelled())));
    CHECK(full->divergence_from(*full) == 0);
}
