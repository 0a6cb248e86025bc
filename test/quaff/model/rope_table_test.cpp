// inv_freq and attention_factor as transformers 5.24 computes them (modeling_rope_utils.py), seen through cos and sin.
#include "quaff/model/rope_table.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "test/catch.h"
#include "test/quaff/config_json.h"

using namespace quaff;
using nlohmann::json;

namespace {

struct YarnCase {
    const char* what;
    int head_dim;
    json fields;
    double attention_factor;
    std::vector<float> inv_freq;
};

const YarnCase kYarnCases[] = {
    {"as Qwen2.5 is stretched",
     24,
     {{"rope_theta", 1e6},
      {"max_position_embeddings", 131072},
      {"rope_scaling", {{"type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 32768}}}},
     1.138629436111989,
     {1, 0.316227764f, 0.099999994f, 0.0316227786f, 0.00999999885f, 0.00256935111f, 0.000625000044f, 0.000138349686f,
      2.49999921e-05f, 7.90569356e-06f, 2.50000085e-06f, 7.90569231e-07f}},
    {"the original length is the model's",
     16,
     {{"rope_theta", 1000.0},
      {"max_position_embeddings", 64},
      {"rope_scaling", {{"rope_type", "yarn"}, {"factor", 8.0}}}},
     1.2079441541679836,
     {1, 0.298701704f, 0.0740949735f, 0.00937367696f, 0.00395284733f, 0.00166690187f, 0.000702926656f,
      0.000296421727f}},
    {"all fields",
     20,
     {{"max_position_embeddings", 4096},
      {"rope_parameters",
       {{"rope_type", "yarn"},
        {"rope_theta", 10000.0},
        {"factor", 40.0},
        {"original_max_position_embeddings", 512},
        {"beta_fast", 16},
        {"beta_slow", 2},
        {"mscale", 1.0},
        {"mscale_all_dim", 0.5},
        {"truncate", false}}}},
     1.1557219901962608,
     {1, 0.398107171f, 0.142571032f, 0.0295106173f, 0.00090079254f, 0.000250000012f, 9.95267692e-05f, 3.96223331e-05f,
      1.57739323e-05f, 6.27971758e-06f}},
    {"the blend has no width",
     16,
     {{"rope_theta", 1000.0},
      {"max_position_embeddings", 64},
      {"rope_scaling",
       {{"type", "yarn"},
        {"factor", 8.0},
        {"attention_factor", 1.25},
        {"beta_fast", 1},
        {"beta_slow", 1},
        {"truncate", false}}}},
     1.25,
     {1, 0.421696514f, 0.177827939f, 0.00937367696f, 0.00395284733f, 0.00166690187f, 0.000702926656f,
      0.000296421727f}}};

}  // namespace

TEST_CASE("yarn's frequencies and attention factor are those of transformers", "[rope]") {
    for (const YarnCase& yarn : kYarnCases) {
        CAPTURE(yarn.what);
        json fields = yarn.fields;
        fields["head_dim"] = yarn.head_dim;
        const ModelConfig config = test::read_config(test::with(fields, "qwen2"));
        CHECK(config.rope.type == RopeConfig::Type::yarn);
        CHECK(config.rope.attention_factor == Approx(yarn.attention_factor).epsilon(1e-14));
        constexpr int64_t kPositions = 90;  // longer than an original length: the table does not depend on it
        const RopeTable table(config, kPositions);
        REQUIRE(table.rows() == kPositions);
        REQUIRE(table.columns() == static_cast<int64_t>(yarn.inv_freq.size()));
        std::vector<float> cos(static_cast<size_t>(kPositions * table.columns())), sin = cos;
        table.fill({cos.data(), kPositions, table.columns()}, {sin.data(), kPositions, table.columns()});
        for (const int64_t position : {1, 7, 89}) {
            for (int64_t k = 0; k < table.columns(); k++) {
                CAPTURE(position, k);
                const double angle = static_cast<double>(position) * static_cast<double>(yarn.inv_freq[k]);
                const auto at = static_cast<size_t>(position * table.columns() + k);
                // inv_freq may be an ulp or two off, and the angle is rounded: 5 of 2^-24 of it at the most.
                const double noise = 5 * 0x1p-24 * angle;
                CHECK(cos[at] == Approx(yarn.attention_factor * std::cos(angle)).margin(2 * noise + 1e-7));
                CHECK(sin[at] == Approx(yarn.attention_factor * std::sin(angle)).epsilon(1e-6).margin(2 * noise));
            }
        }
    }
}
