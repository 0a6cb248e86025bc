// `--method fp` against transformers and PEFT: logits, losses, gradients, ten AdamW steps, the final adapter.
//
// Both sides compute in fp32 and sum in different orders, so values differ by a few times 2^-24 per operation on them:
// some 1e-6 of a tensor's largest value behind the two or three layers of these models.
#include "test/catch.h"
#include "test/quaff/golden.h"

using namespace golden;

namespace {

struct FullPrecisionCase {
    explicit FullPrecisionCase(const std::string& name)
        : numbers(read_json(directory(name) / "golden.json")),
          tensors(directory(name) / "golden.safetensors"),
          checkpoint(directory(name) / "model"),
          batches(make_batches(numbers["batches"])),
          options(build_options(numbers, Method::fp)) {}

    std::unique_ptr<Model> build(const cpu::Device& device = one_thread()) const {
        auto model = quaff::build_quantized_model(checkpoint, {}, options, device);
        load_adapter(*model, directory(numbers["case"]) / "adapter");
        return model;
    }

    json numbers;
    SafetensorsFile tensors;
    ModelFiles checkpoint;
    std::vector<Batch> batches;
    BuildOptions options;
};

}  // namespace

TEST_CASE("logits equal those of transformers", "[golden]") {
    for (const std::string name : kModels) {
        CAPTURE(name);
        const FullPrecisionCase test(name);
        const std::vector<float> logits = test.build()->logits(test.batches[0]);
        const int64_t vocab_size = test.checkpoint.config().vocab_size;
        std::vector<float> rows;
        for (int64_t row : test.numbers["logits_rows"])
            rows.insert(rows.end(), logits.begin() + row * vocab_size, logits.begin() + (row + 1) * vocab_size);
        CHECK(distance(rows, test.tensors, "logits") < 1e-5);
    }
}

TEST_CASE("gradients of every adapter equal those of PEFT", "[golden]") {
    for (const std::string name : kModels) {
        CAPTURE(name);
        const FullPrecisionCase test(name);
        const auto model = test.build();
        const Batch& batch = test.batches[0];
        REQUIRE(batch.n_labelled() == test.numbers["batches"][0]["labelled"]);
        model->zero_gradients();
        model->forward(batch, 1.0f / static_cast<float>(batch.n_labelled()), 0);
        model->backward(batch);
        CHECK(adapter_distance(*model, test.tensors, "grad.") < 1e-4);
    }
}

// AdamW divides by the root of v: an element whose gradient is near zero by cancellation takes a step whose error is
// that of the gradient relative to itself, not to the tensor, and steps are 1e-2 long.
TEST_CASE("losses of ten AdamW steps and the adapter after them equal PEFT's", "[golden]") {
    for (const std::string name : kModels) {
        CAPTURE(name);
        const FullPrecisionCase test(name);
        const auto model = test.build();
        const std::vector<StepResult> results = train(*model, test.numbers, test.batches, test.numbers["steps"]);
        for (size_t step = 0; step < results.size(); step++) {
            CAPTURE(step);
            CHECK(results[step].loss == Approx(test.numbers["losses"][step].get<double>()).epsilon(1e-5));
            CHECK(results[step].gradient_norm == Approx(test.numbers["grad_norms"][step].get<double>()).epsilon(1e-4));
        }
        CHECK(adapter_distance(*model, test.tensors, "final.") < 1e-4);
    }
}

// Operands of products rounded to bf16, by up to 2^-9 of themselves and independently: the bounds of bf16 on CUDA,
// where activations are rounded, too (test/quaff/cuda/model_test.cpp).
TEST_CASE("with products in bf16, losses of ten AdamW steps stay near PEFT's", "[golden]") {
    for (const std::string name : kModels) {
        CAPTURE(name);
        const FullPrecisionCase test(name);
        const auto model = test.build(one_thread_in_bf16());
        const std::vector<StepResult> results = train(*model, test.numbers, test.batches, test.numbers["steps"]);
        for (size_t step = 0; step < results.size(); step++) {
            CAPTURE(step);
            const double expected = test.numbers["losses"][step];
            CHECK(results[step].loss == Approx(expected).epsilon(step == 0 ? 0.004 : 0.01));
            CHECK(results[step].loss != Approx(expected).epsilon(1e-6));
        }
    }
}

// Generation computes the same logits one token at a time from its cache of keys and values, which longrope throws
// away when the sequence outgrows the short factors.
TEST_CASE("generation with a key/value cache gives the logits of the whole sequence", "[golden]") {
    for (const std::string name : kModels) {
        CAPTURE(name);
        const FullPrecisionCase test(name);
        const auto model = test.build();
        json longest;
        for (const json& batch : test.numbers["batches"]) {
            const std::vector<int32_t> cu_seqlens = batch["cu_seqlens"];
            for (size_t s = 0; s + 1 < cu_seqlens.size(); s++) {
                const std::vector<int32_t> all = batch["input_ids"];
                if (cu_seqlens[s + 1] - cu_seqlens[s] > static_cast<int32_t>(longest.size()))
                    longest = std::vector(all.begin() + cu_seqlens[s], all.begin() + cu_seqlens[s + 1]);
            }
        }
        const std::vector<int32_t> ids = longest;
        const size_t prompt = ids.size() / 2;
        quaff::Generator<cpu::Device> generator(*model, static_cast<int64_t>(ids.size()));
        for (size_t length = prompt; length <= ids.size(); length++) {
            CAPTURE(length);
            const std::vector<int32_t> prefix(ids.begin(), ids.begin() + static_cast<int64_t>(length));
            const std::span<const float> next =
                length == prompt ? generator.prefill(prefix) : generator.decode(prefix.back());
            const std::vector<float> one(next.begin(), next.end());
            const std::vector<int32_t> labels(length, kIgnoreLabel);
            const std::vector<float> all = model->logits(
                make_batch({{"input_ids", prefix}, {"labels", labels}, {"cu_seqlens", {0, prefix.size()}}}));
            CHECK(distance(one, std::span(all).last(one.size())) < 1e-5);
        }
    }
}
