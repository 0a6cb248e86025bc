// How likely a model finds options and texts, against sums over its logits.
#include "quaff/run/metrics/likelihood.h"

#include <cmath>
#include <string>

#include "llmc/core/error.h"
#include "quaff/quaff.h"
#include "test/catch.h"
#include "test/quaff/golden.h"

using namespace golden;
using Catch::Matchers::ContainsSubstring;
using quaff::TextWindow;

namespace {

constexpr int32_t kVocabulary = 97;

// A byte is a token; 1 is BOS.
TextEncoding bytes_as_tokens() {
    TextEncoding encoding;
    encoding.encode = [](std::string_view text) {
        std::vector<int32_t> ids;
        for (const char c : text) ids.push_back(static_cast<unsigned char>(c) % (kVocabulary - 3) + 3);
        return ids;
    };
    encoding.bos_id = 1;
    encoding.eos_id = 2;
    return encoding;
}

std::unique_ptr<quaff::Model<cpu::Device>> model_for(int64_t max_tokens) {
    quaff::BuildOptions options = build_options(read_json(directory("llama_gqa") / "golden.json"), Method::fp);
    options.training = false;
    options.max_tokens = options.max_sequence_length = options.max_labelled = max_tokens;
    return quaff::build_quantized_model(ModelFiles(directory("llama_gqa") / "model"), {}, options, one_thread());
}

// log p of the last id behind the others, from the model's logits in fp64.
double log_probability_of_last(quaff::Model<cpu::Device>& model, const std::vector<int32_t>& ids) {
    const Example example{{ids.begin(), ids.end() - 1}, std::vector<int32_t>(ids.size() - 1, kIgnoreLabel)};
    const Example* one[] = {&example};
    const std::vector<float> logits = model.logits(pack(one));
    const auto last = std::span(logits).last(kVocabulary);
    double sum = 0;
    for (const float logit : last) sum += std::exp(static_cast<double>(logit));
    return static_cast<double>(last[static_cast<size_t>(ids.back())]) - std::log(sum);
}

// By definition: windows begin `stride` tokens apart, and a token is scored in the first that reaches it.
double by_definition(quaff::Model<cpu::Device>& model, const std::string& text, int64_t length, int64_t stride) {
    std::vector<int32_t> x = {1};
    for (const int32_t id : bytes_as_tokens().encode(text)) x.push_back(id);
    double sum = 0;
    for (int64_t i = 1; i < std::ssize(x); ++i) {
        int64_t end = length;  // the window's last scored position
        while (end < i) end += stride;
        end = std::min<int64_t>(end, std::ssize(x) - 1);
        const int64_t begin = std::max<int64_t>(0, end - length);
        sum += log_probability_of_last(model, {x.begin() + begin, x.begin() + i + 1});
    }
    return sum;
}

}  // namespace

TEST_CASE("a text's probability is the product of its tokens', each behind its window", "[metrics]") {
    const std::string text = "All that is gold does not glitter, not all those who wander are lost.";
    const auto model = model_for(64);
    const auto sum = [&](TextWindow window) {
        return quaff::text_log_probability(*model, text, bytes_as_tokens(), window, [] {});
    };
    for (const TextWindow window : {TextWindow{64, 64}, TextWindow{20, 20}, TextWindow{20, 7}, TextWindow{20, 1},
                                    TextWindow{1, 1}, TextWindow{13, 12}}) {
        CAPTURE(window.length, window.stride);
        // Some 70 losses of fp32, each within 1e-6 of its value of about 4.6.
        CHECK(sum(window) == Approx(by_definition(*model, text, window.length, window.stride)).epsilon(1e-5));
    }
    // A window that nothing fills is the text as a whole.
    CHECK(quaff::text_log_probability(*model, text.substr(0, 30), bytes_as_tokens(), {64, 64}, [] {}) ==
          Approx(quaff::text_log_probability(*model, text.substr(0, 30), bytes_as_tokens(), {31, 31}, [] {})));
}

TEST_CASE("windows score every token once", "[metrics]") {
    const std::vector<int32_t> ids = {10, 11, 12, 13, 14, 15, 16, 17, 18, 19};
    for (const int64_t length : {1, 2, 3, 4, 9, 10, 11, 100})
        for (int64_t stride = 1; stride <= length; ++stride)
            for (const int32_t prefix : {-1, 5}) {
                CAPTURE(length, stride, prefix);
                std::vector<int32_t> scored;
                quaff::for_each_window(ids, prefix, {length, stride}, [&](const Batch& batch) {
                    CHECK(batch.n_tokens() <= length);
                    CHECK(batch.n_labelled() <= (scored.empty() ? length : stride));
                    scored.insert(scored.end(), batch.label_ids.begin(), batch.label_ids.end());
                });
                CHECK(scored == std::vector<int32_t>(ids.begin() + (prefix < 0 ? 1 : 0), ids.end()));
            }
    const auto none = [](const Batch&) { FAIL("there is no token to score"); };
    quaff::for_each_window({}, 5, {4, 4}, none);
    CHECK_THROWS_WITH(quaff::for_each_window(ids, 5, {4, 5}, none),
                      ContainsSubstring("from 1 to its length of 4, not 5"));
    CHECK_THROWS_AS(quaff::for_each_window(ids, 5, {4, 0}, none), Error);
}

TEST_CASE("an option's likelihood is that of its bytes behind the prompt", "[metrics]") {
    const auto model = model_for(64);
    const std::vector<int32_t> prompt = {1, 20, 30, 40};
    const Choices choices{{"one", "a longer option", "", "x"}, 1};
    const std::vector<int32_t> as_read = prompt;
    for (const int64_t batch_size : {1, 2, 16}) {
        const std::vector<double> likelihoods =
            quaff::option_likelihoods(*model, prompt, choices, bytes_as_tokens(), batch_size);
        REQUIRE(likelihoods.size() == 4);
        for (const size_t option : {0, 1, 3}) {
            std::vector<int32_t> ids = prompt;
            double sum = 0;
            for (const int32_t id : bytes_as_tokens().encode(choices.options[option])) {
                ids.push_back(id);
                sum += log_probability_of_last(*model, ids);
            }
            CHECK(likelihoods[option] ==
                  Approx(sum / static_cast<double>(choices.options[option].size())).epsilon(1e-5));
        }
        CHECK(likelihoods[2] == -std::numeric_limits<double>::infinity());  // nothing to say
    }
}
