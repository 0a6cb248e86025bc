#include "quaff/run/gradient_error.h"

#include <nlohmann/json.hpp>
#include <numeric>

#include "quaff/run/evaluation.h"
#include "test/catch.h"
#include "test/quaff/golden.h"

using namespace golden;
using quaff::GradientComparison;

namespace {

Dataset dataset_of(const QuaffCase& test) {
    Dataset data;
    for (const json& batch : test.full_precision["batches"]) {
        const auto ids = batch["input_ids"].get<std::vector<int32_t>>(),
                   labels = batch["labels"].get<std::vector<int32_t>>();
        const auto ends = batch["cu_seqlens"].get<std::vector<size_t>>();
        for (size_t s = 0; s + 1 < ends.size(); s++) {
            Example& example = data.examples.emplace_back();
            example.input_ids.assign(ids.begin() + static_cast<int64_t>(ends[s]),
                                     ids.begin() + static_cast<int64_t>(ends[s + 1]));
            example.labels.assign(labels.begin() + static_cast<int64_t>(ends[s]),
                                  labels.begin() + static_cast<int64_t>(ends[s + 1]));
        }
    }
    return data;
}

std::map<std::string, GradientComparison> gradients(Method method, int grad_bits = 8) {
    QuaffCase test("llama_gqa", "rotated");
    test.options.lora.lora_dropout = 0.5;  // which a comparison leaves out
    test.options.grad_bits = grad_bits;
    test.options.method = Method::fp;
    const auto reference = test.build();
    test.options.method = method;
    const auto model = test.build();
    const Dataset data = dataset_of(test);
    std::vector<std::vector<int64_t>> batches;
    for (int64_t i = 0; i < data.size(); i++) batches.push_back({i});
    const Batch batch = make_batches(test.full_precision["batches"])[0];
    const std::vector<float> logits = model->logits(batch);
    const auto found = quaff::compare_gradients(*model, *reference, data, batches, [](int64_t, int64_t) {});
    CHECK(model->logits(batch) == logits);  // nothing moved
    CHECK(model->gradient_norm() == 0);
    return found;
}

double error_of(const std::map<std::string, GradientComparison>& kinds) {
    quaff::Evaluation evaluation;
    evaluation.gradients = kinds;
    return evaluation.all_gradients().relative_error();
}

}  // namespace

TEST_CASE("the gradients of full precision are its own", "[gradients]") {
    const auto kinds = gradients(Method::fp);
    CHECK(kinds.size() == 7);  // q, k, v, o, gate, up, down
    for (const auto& [kind, comparison] : kinds) {
        CAPTURE(kind);
        CHECK(comparison.full > 0);
        CHECK(comparison.relative_error() == 0);
        CHECK(comparison.cosine() == Approx(1).epsilon(1e-12));
    }
}

TEST_CASE("quantised gradients are off by the less the better the method, and the fewer roundings", "[gradients]") {
    const auto naive = gradients(Method::naive), quaff = gradients(Method::quaff),
               quaff16 = gradients(Method::quaff, 16);
    CHECK(error_of(quaff) < 0.7 * error_of(naive));
    CHECK(error_of(quaff16) < error_of(quaff));
    CHECK(error_of(quaff16) > 0);  // of the forward pass
    for (const auto& [kind, comparison] : quaff) {
        CAPTURE(kind);
        CHECK(comparison.cosine() > 0.99);
        CHECK(comparison.cosine() < 1);
    }
}

TEST_CASE("gradient errors stand in an evaluation by kind and in all", "[gradients]") {
    quaff::Evaluation evaluation;
    CHECK_FALSE(to_json(evaluation).contains("gradient_error"));
    evaluation.gradients["down_proj"] = {.error = 1, .own = 4, .full = 4, .product = 3.5};
    evaluation.gradients["q_proj"] = {.error = 0, .own = 12, .full = 12, .product = 12};
    const nlohmann::ordered_json object = to_json(evaluation);
    CHECK(object["gradient_error"] == 0.25);
    CHECK(object["gradient_cosine"] == 15.5 / 16);
    CHECK(object["gradient_error.down_proj"] == 0.5);
    CHECK(object["gradient_error.q_proj"] == 0);
    CHECK(in_words(evaluation).find("gradient error 25.00%") != std::string::npos);
}
