// What must hold of the methods that Quaff is compared with, whatever the numbers are. golden_quaff_test.cpp compares
// the numbers with the reference's.
#include "quaff/model/calibrate.h"
#include "test/catch.h"
#include "test/quaff/golden.h"

using namespace golden;

namespace {

const Method kOthers[] = {Method::llm_int8, Method::smooth_static, Method::smooth_dynamic, Method::qlora};

QuaffCase case_of(Method method) {
    QuaffCase test("llama_gqa", "smooth_static");  // with the maxima of all channels
    test.options.method = method;
    test.options.int8_threshold = 2.5;
    return test;
}

std::vector<Batch> batches_of(const QuaffCase& test) {
    return make_batches(test.full_precision["batches"]);
}

std::vector<float> trained(Model& model, const QuaffCase& test) {
    train(model, test.full_precision, batches_of(test), 3);
    return model.read(model.parameters());
}

double error_of_logits(const QuaffCase& test) {
    const Batch batch = batches_of(test)[0];
    BuildOptions exact = test.options;
    exact.method = Method::fp;
    quaff::Model<cpu::Device> reference(one_thread(), test.checkpoint, {}, exact);
    load_adapter(reference, directory("llama_gqa") / "adapter");
    return distance(test.build()->logits(batch), reference.logits(batch));
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

TEST_CASE("smooth-dynamic is smooth-static calibrated on the very batch", "[methods]") {
    QuaffCase test = case_of(Method::smooth_static);
    const Batch batch = batches_of(test)[0];
    quaff::CalibrationOptions calibration;
    calibration.strategy = quaff::OutlierStrategy::top_abs;
    calibration.max_ratio = quaff::MaxRatio("1");
    test.outliers = calibrate(one_thread(), test.checkpoint, std::vector{batch}, calibration);
    for (const auto& [module, channels] : test.outliers.channels) CHECK(channels.size() >= 48);
    // Calibration's inputs are those of full precision: the first layer's alone are the same here.
    BuildOptions only_first = test.options;
    only_first.adapters = false;
    only_first.training = false;
    quaff::Model<cpu::Device> fixed(one_thread(), test.checkpoint, test.outliers, only_first);
    only_first.method = Method::smooth_dynamic;
    quaff::Model<cpu::Device> dynamic(one_thread(), test.checkpoint, {}, only_first);
    only_first.method = Method::naive;
    quaff::Model<cpu::Device> naive(one_thread(), test.checkpoint, {}, only_first);
    const auto expected = fixed.logits(batch), found = dynamic.logits(batch), other = naive.logits(batch);
    double difference = 0, against_naive = 0;
    for (size_t i = 0; i < expected.size(); i++) {
        difference = std::max(difference, static_cast<double>(std::abs(found[i] - expected[i])));
        against_naive = std::max(against_naive, static_cast<double>(std::abs(other[i] - expected[i])));
    }
    CHECK(difference < 0.5 * against_naive);
}

TEST_CASE("smooth-static without calibrated maxima is refused", "[methods]") {
    QuaffCase test = case_of(Method::smooth_static);
    test.outliers.max_abs.clear();
    CHECK_THROWS_WITH(test.build(), Catch::Matchers::ContainsSubstring("smooth-static needs the largest |X| of every channel"));
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
