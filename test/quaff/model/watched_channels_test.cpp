// A model whose outlier channels are replaced is the one that would have been built with them.
#include <random>

#include "test/catch.h"
#include "test/quaff/golden.h"

using namespace golden;

namespace {

// As many channels of each linear as before, drawn anew.
quaff::OutlierChannels drawn_anew(const quaff::OutlierChannels& outliers, const quaff::ModelConfig& config) {
    std::mt19937 random(11);
    quaff::OutlierChannels other = outliers;
    for (const quaff::JointLinear& joint : all_joint_linears(config)) {
        std::vector<int32_t> all(static_cast<size_t>(joint.in_features)), &chosen = other.channels[joint.name];
        for (size_t i = 0; i < all.size(); i++) all[i] = static_cast<int32_t>(i);
        std::shuffle(all.begin(), all.end(), random);
        std::copy_n(all.begin(), chosen.size(), chosen.begin());
        std::sort(chosen.begin(), chosen.end());
        other.max_abs[joint.name].clear();
        for (size_t j = 0; j < chosen.size(); j++)
            other.max_abs[joint.name].push_back(0.5f + static_cast<float>(random() % 100));
    }
    return other;
}

}  // namespace

TEST_CASE("replacing the outlier channels of a model gives the model built with the new ones", "[ossh][golden]") {
    const char* name = GENERATE("llama_gqa", "phi3");
    const quaff::OutlierTerm term = GENERATE(quaff::OutlierTerm::scaled, quaff::OutlierTerm::split);
    QuaffCase test(name);
    test.options.rotation = true;
    test.options.outlier_term = term;
    REQUIRE(count_channels(test.outliers) > 0);
    const quaff::OutlierChannels other = drawn_anew(test.outliers, test.checkpoint.config());
    const auto changed = test.build();
    const std::vector<quaff::LayerScales> before = changed->scales();
    const std::vector<quaff::JointLinear> joints = all_joint_linears(test.checkpoint.config());
    for (size_t i = 0; i < joints.size(); i++)
        changed->set_channels(i, other.channels.at(joints[i].name), other.max_abs.at(joints[i].name), test.checkpoint);
    const std::vector<quaff::LayerScales> after = changed->scales();

    const quaff::OutlierChannels old = test.outliers;
    test.outliers = other;
    const auto built = test.build();
    const std::vector<quaff::LayerScales> fresh = built->scales();
    for (size_t i = 0; i < joints.size(); i++) {
        CAPTURE(joints[i].name);
        const std::vector<int32_t>&was = old.channels.at(joints[i].name), &is = other.channels.at(joints[i].name);
        REQUIRE(after[i].s.size() == fresh[i].s.size());
        CHECK(after[i].initialised == before[i].initialised);
        for (size_t j = 0; j < after[i].s.size(); j++) {
            const auto kept = std::find(was.begin(), was.end(), is[j]);
            CHECK(after[i].s[j] == (kept == was.end() ? fresh[i].s[j] : before[i].s[kept - was.begin()]));
        }
    }
    built->set_scales(after);
    const Batch batch = make_batch(test.numbers["exact"]["batches"][0]);
    CHECK(changed->logits(batch) == built->logits(batch));
    const AdamWOptions adamw = adamw_options(test.numbers);
    for (int64_t step = 1; step <= 2; step++)
        CHECK(train_step(*changed, batch, adamw, 1, step).loss == train_step(*built, batch, adamw, 1, step).loss);
    CHECK(changed->read(changed->parameters()) == built->read(built->parameters()));

    // A linear has room for as many channels as it had.
    CHECK_THROWS_AS(changed->set_channels(0, {1}, std::vector<float>{1}, test.checkpoint), llmc::Error);
}
