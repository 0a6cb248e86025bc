// What must hold of the methods that Quaff is compared with, whatever the numbers are. golden_quaff_test.cpp compares
// the numbers with the reference's.
#include <random>

#include "test/catch.h"
#include "test/quaff/golden.h"
#include "test/quaff/single_linear.h"

using namespace golden;

namespace {

const Method kOthers[] = {Method::llm_int8, Method::smooth_static, Method::smooth_dynamic, Method::qlora};

QuaffCase case_of(Method method) {
    QuaffCase test("llama_gqa", "smooth_static");  // with the maxima of all channels
    test.options.method = method;
    test.options.int8_threshold = 2.5;
    return test;
}

std::vector<float> trained(Model& model, const QuaffCase& test) {
    train(model, test.full_precision, batches_of(test), 3);
    return model.read(model.parameters());
}

}  // namespace

TEST_CASE("layers of every method are recomputed with the same bits", "[methods]") {
    for (const Method method : kOthers) {
        CAPTURE(name_of(method));
        QuaffCase test = case_of(method);
        test.options.lora.lora_dropout = 0.2;
        test.options.recompute = quaff::Recompute::none;
        const auto kept = trained(*test.build(), test);
        test.options.recompute = quaff::Recompute::block;
        CHECK(trained(*test.build(), test) == kept);
    }
}

TEST_CASE("no method but Quaff's has scales that training moves", "[methods]") {
    for (const Method method : kOthers) {
        CAPTURE(name_of(method));
        const QuaffCase test = case_of(method);
        const auto model = test.build();
        for (const quaff::LayerScales& layer : model->scales()) CHECK(layer.s.empty());
        const Batch batch = batches_of(test)[0];
        const auto before = model->logits(batch);
        model->keep_scales();
        model->forward(batches_of(test)[1], 1, 1);
        model->restore_scales();
        CHECK(model->logits(batch) == before);
    }
}

TEST_CASE("llm-int8 is naive where nothing is large, and nearer to full precision where something is", "[methods]") {
    QuaffCase test = case_of(Method::llm_int8);
    const Batch batch = batches_of(test)[0];
    test.options.int8_threshold = 1e9f;
    const auto nothing = test.build()->logits(batch);
    test.options.method = Method::naive;
    CHECK(test.build()->logits(batch) == nothing);

    const double naive = error_of_logits(test);
    test.options.method = Method::llm_int8;
    test.options.int8_threshold = 2.5;
    const double some = error_of_logits(test);
    test.options.int8_threshold = 0;
    const double all = error_of_logits(test);
    CHECK(some < naive);
    CHECK(all < naive);
    CHECK(all > 0);  // the weights' own error
}

TEST_CASE("smooth-dynamic is smooth-static calibrated on the very input, bit for bit", "[methods]") {
    const int64_t n = 7, in = 43, out = 29;
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    std::vector<float> x(n * in), w(out * in), dy(n * out);
    for (std::vector<float>* values : {&x, &w, &dy})
        for (float& value : *values) value = normal(random);
    for (int64_t t = 0; t < n; t++) x[static_cast<size_t>(t * in + 5)] *= 30;  // an outlier channel
    quaff::LayerOutliers seen;
    for (int32_t c = 0; c < in; c++) {
        float largest = 0;
        for (int64_t t = 0; t < n; t++) largest = std::max(largest, std::abs(x[static_cast<size_t>(t * in + c)]));
        seen.channels.push_back(c);
        seen.max_abs.push_back(largest);
    }
    // y and dx of a layer without adapters.
    const auto passes = [&](Method method) {
        SingleLinear one(in, out, n, method, method == Method::smooth_static ? seen : quaff::LayerOutliers());
        auto& [device, arena, linear, workspace] = one;
        linear.weight.load_rows(device, 0, {w.data(), 11, in});  // in two parts, as q and k come
        linear.weight.load_rows(device, 11, {w.data() + 11 * in, out - 11, in});
        quaff::PassInfo pass;
        pass.mode = quaff::Mode::train;
        std::vector<float> y(n * out), dx(n * in);
        const Matrix<const float> input(x.data(), n, in);
        linear.forward(device, {y.data(), n, out}, quaff::PlainInput<cpu::Device>{input}, {}, pass, workspace);
        linear.backward(device, {dx.data(), n, in}, {dy.data(), n, out}, input, {}, pass, workspace);
        return std::pair(y, dx);
    };
    CHECK(passes(Method::smooth_dynamic) == passes(Method::smooth_static));
    CHECK(passes(Method::smooth_dynamic) != passes(Method::naive));
}

TEST_CASE("smooth-static without calibrated maxima is refused", "[methods]") {
    QuaffCase test = case_of(Method::smooth_static);
    test.outliers.max_abs.clear();
    CHECK_THROWS_WITH(test.build(),
                      Catch::Matchers::ContainsSubstring("smooth-static needs the largest |X| of every channel"));
}

TEST_CASE("what each method's memory is for", "[methods]") {
    const auto plan_of = [](Method method) {
        const QuaffCase test = case_of(method);
        const quaff::Model<cpu::Device> planned(one_thread(), test.checkpoint, test.outliers, test.options, true);
        return planned.plan();
    };
    const auto frozen = [](const auto& plan) {
        return plan.total(quaff::MemoryKind::int8_weights) + plan.total(quaff::MemoryKind::weights);
    };
    const auto fp = plan_of(Method::fp), naive = plan_of(Method::naive), qlora = plan_of(Method::qlora),
               dynamic = plan_of(Method::smooth_dynamic), llm = plan_of(Method::llm_int8);
    CHECK(frozen(qlora) < frozen(naive));
    CHECK(frozen(naive) < frozen(fp));
    CHECK(frozen(dynamic) > frozen(fp));  // W itself, and its scales
    CHECK(dynamic.total() > fp.total());  // and room to quantise it
    CHECK(llm.total() > naive.total());   // room for every channel to be large
}
