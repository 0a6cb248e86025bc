// What must hold of the rotation and of split outlier channels, whatever the numbers are. golden_quaff_test.cpp
// compares the numbers with the reference's.
#include <cstring>

#include "test/catch.h"
#include "test/quaff/golden.h"

using namespace golden;
using quaff::OutlierTerm;

namespace {

struct Choice {
    bool rotation;
    OutlierTerm term;
};
const Choice kChoices[] = {{true, OutlierTerm::scaled}, {false, OutlierTerm::split}, {true, OutlierTerm::split}};

QuaffCase case_of(const Choice& choice) {
    QuaffCase test("llama_gqa");
    test.options.rotation = choice.rotation;
    test.options.outlier_term = choice.term;
    return test;
}

// Gradients after three steps.
std::vector<float> trained(Model& model, const QuaffCase& test) {
    train(model, test.full_precision, batches_of(test), 3);
    return model.read(model.gradients());
}

}  // namespace

TEST_CASE("rotated and split layers are recomputed with the same bits", "[rotation]") {
    for (const Choice& choice : kChoices) {
        CAPTURE(choice.rotation, static_cast<int>(choice.term));
        QuaffCase test = case_of(choice);
        test.options.lora.lora_dropout = 0.2;
        test.options.recompute = quaff::Recompute::none;
        const auto kept = test.build();
        test.options.recompute = quaff::Recompute::block;
        const auto recomputed = test.build();
        CHECK(trained(*kept, test) == trained(*recomputed, test));
    }
}

TEST_CASE("split outlier channels have no scales, and memory for none", "[rotation]") {
    const QuaffCase scaled = case_of({true, OutlierTerm::scaled}), split = case_of({true, OutlierTerm::split});
    const auto model = split.build();
    trained(*model, split);
    for (const quaff::LayerScales& layer : model->scales()) {
        CHECK(layer.s.empty());
        CHECK_FALSE(layer.initialised);
    }
    model->follow();  // as a rank without a micro-batch does
    using quaff::MemoryKind;
    CHECK(model->plan().total(MemoryKind::outlier_rows) < scaled.build()->plan().total(MemoryKind::outlier_rows));
}

TEST_CASE("split is what scaled becomes as the scales grow", "[rotation]") {
    for (const bool rotation : {false, true}) {
        CAPTURE(rotation);
        const QuaffCase scaled = case_of({rotation, OutlierTerm::scaled}),
                        split = case_of({rotation, OutlierTerm::split});
        const Batch batch = batches_of(scaled)[0];
        const auto model = scaled.build();
        std::vector<quaff::LayerScales> scales = model->scales();
        for (quaff::LayerScales& layer : scales) std::ranges::fill(layer.s, 1e12f);
        model->set_scales(scales);
        // x / s times (s - 1) rounds a few times more than x does; where that crosses a boundary, an int8 step.
        CHECK(distance(model->logits(batch), split.build()->logits(batch)) < 0.02);
    }
}

TEST_CASE("naive is the method without outlier channels and without rotation", "[rotation]") {
    QuaffCase test = case_of({true, OutlierTerm::split});
    test.options.method = Method::naive;  // which heeds neither choice, nor the channels it is given
    const auto naive = test.build();
    for (auto& [module, channels] : test.outliers.channels) channels.clear();
    test.outliers.max_abs.clear();
    test.options.method = Method::quaff_paper;
    CHECK(trained(*naive, test) == trained(*test.build(), test));
    CHECK(naive->plan().total(quaff::MemoryKind::outlier_rows) == 0);
}

TEST_CASE("the published method is scaled and not rotated, whatever is chosen", "[rotation]") {
    QuaffCase paper = case_of({true, OutlierTerm::split});
    paper.options.method = Method::quaff_paper;
    const QuaffCase same = case_of({false, OutlierTerm::scaled});
    CHECK(trained(*paper.build(), paper) == trained(*same.build(), same));
}

TEST_CASE("rotation and split bring the logits nearer to full precision", "[rotation]") {
    // The model has a few strong outliers and little else to spread, so that only the trend is asked for.
    const double plain = error_of_logits(case_of({false, OutlierTerm::scaled}));
    for (const Choice& choice : kChoices) {
        CAPTURE(choice.rotation, static_cast<int>(choice.term));
        CHECK(error_of_logits(case_of(choice)) < plain);
    }
}

TEST_CASE("an adapter is saved with its rotation and its outlier term", "[rotation]") {
    const auto folder = std::filesystem::path("build") / "rotation_saved";
    for (const Choice& choice : kChoices) {
        const QuaffCase test = case_of(choice);
        const auto model = test.build();
        trained(*model, test);
        quaff::save_adapter(folder, *model, "base", test.outliers);
        const auto state = quaff::read_quaff_state(folder, test.checkpoint.config());
        REQUIRE(state.has_value());
        CHECK(state->rotation == choice.rotation);
        CHECK(state->outlier_term == choice.term);
        CHECK(state->scales.empty() == (choice.term == OutlierTerm::split));
        CHECK(state->outliers->channels == test.outliers.channels);
    }
    std::filesystem::remove_all(folder);
}
