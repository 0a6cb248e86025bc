// How far a quantised model is from the same one in full precision.
#include "test/quaff/divergence.h"

#include "test/catch.h"

using namespace golden;

namespace {

std::unique_ptr<Model> build(const QuaffCase& test, Method method, const Batch& batch) {
    BuildOptions options = with_room_for(test.options, batch);
    options.method = method;
    auto model = quaff::build_quantized_model(test.checkpoint, test.outliers, options, one_thread());
    load_adapter(*model, directory(test.numbers["case"]) / "adapter");
    return model;
}

}  // namespace

TEST_CASE("the divergence of two models is that of their logits' softmax, chunk after chunk", "[divergence]") {
    const std::string name = GENERATE("llama_gqa", "phi3");
    CAPTURE(name);
    const QuaffCase test(name);
    const Batch batch = many_labels(test.full_precision["batches"][0]);
    REQUIRE(batch.n_labelled() > quaff::head_chunk_rows(test.checkpoint.config().vocab_size, batch.n_labelled()));
    const auto full = build(test, Method::fp, batch), quantised = build(test, Method::quaff, batch);
    const double expected = expected_divergence(*full, *quantised, batch);
    REQUIRE(expected > 1e-6 * static_cast<double>(batch.n_labelled()));

    const double loss = full->evaluate(batch).loss;
    quantised->evaluate(batch);
    // 1e-8 a row: fp32's exponentials.
    CHECK(quantised->divergence_from(*full) ==
          Approx(expected).epsilon(1e-4).margin(1e-8 * static_cast<double>(batch.n_labelled())));
    CHECK(full->divergence_from(*full) == 0);
    CHECK(full->losses().loss == loss);  // the comparison leaves the evaluation as it was
}

TEST_CASE("models that have not evaluated the same batch are not compared", "[divergence]") {
    const QuaffCase test("llama_gqa");
    const std::vector<Batch> batches = make_batches(test.full_precision["batches"]);
    REQUIRE(batches[0].n_labelled() != batches[1].n_labelled());
    const auto full = build(test, Method::fp, batches[0]), quantised = build(test, Method::quaff, batches[1]);
    full->evaluate(batches[0]);
    quantised->evaluate(batches[1]);
    CHECK_THROWS_AS(quantised->divergence_from(*full), Error);
}
