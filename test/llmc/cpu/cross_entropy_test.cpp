#include "llmc/cpu/cross_entropy.h"

#include "test/catch.h"
#include "test/llmc/cpu/operator_testing.h"

using namespace llmc_test;

namespace {

const cpu::Device kDevice{2};

}  // namespace

TEST_CASE("cross-entropy is minus the logarithm of the label's softmax", "[cross_entropy]") {
    const int vocabulary = GENERATE(1, 7, 5000);  // 5000: more than one block of the sum
    auto logits = random_buffer<float>(4, vocabulary, 1, 4.0);
    const std::vector<int32_t> labels{0, vocabulary / 2, vocabulary - 1, vocabulary / 3};
    std::vector<float> losses(4), losses_too(4);
    std::vector<uint8_t> correct(4), correct_too(4);
    const auto before = logits;
    cpu::cross_entropy_forward<float>(kDevice, losses.data(), correct.data(), logits.view(), labels);
    CHECK(logits == before);
    cpu::cross_entropy_forward_backward(kDevice, losses_too.data(), correct_too.data(), logits.view(), labels, 0.25f);
    CHECK(losses == losses_too);
    CHECK(correct == correct_too);
    Buffer<float> expected(4, vocabulary);
    for (int64_t n = 0; n < 4; n++) {
        double sum = 0;
        int64_t argmax = 0;
        for (int64_t v = 0; v < vocabulary; v++) {
            sum += std::exp(static_cast<double>(before(n, v)));
            if (before(n, v) > before(n, argmax)) argmax = v;
        }
        // A sum of 5000 floats in 16 or fewer partial sums, and the exponentials' ulp.
        CHECK(losses[n] ==
              Approx(std::log(sum) - static_cast<double>(before(n, labels[n]))).epsilon(1e-5).margin(1e-5));
        CHECK(int{correct[n]} == (argmax == labels[n]));
        for (int64_t v = 0; v < vocabulary; v++) {
            expected(n, v) =
                static_cast<float>(0.25 * (std::exp(static_cast<double>(before(n, v))) / sum - (v == labels[n])));
        }
    }
    CHECK(largest_difference(logits, expected) < 1e-6);
    CHECK(logits.padding_untouched());
}

TEST_CASE("dlogits is the derivative of the summed loss", "[cross_entropy]") {
    auto logits = random_buffer<double>(3, 11, 1, 2.0);
    const std::vector<int32_t> labels{10, 0, 4};
    auto dlogits = logits;
    std::vector<double> losses(3);
    std::vector<uint8_t> correct(3);
    cpu::cross_entropy_forward_backward(kDevice, losses.data(), correct.data(), dlogits.view(), labels, 0.5f);
    const double error = gradient_error(logits, dlogits, [&] {
        cpu::cross_entropy_forward<double>(kDevice, losses.data(), correct.data(), logits.view(), labels);
        return 0.5 * (losses[0] + losses[1] + losses[2]);
    });
    CHECK(error < kGradientTolerance);
}

TEST_CASE("with a soft cap the loss is of the capped logits, its gradient of the logits before", "[cross_entropy]") {
    const float cap = 2.5f;
    auto logits = random_buffer<double>(3, 11, 1, 3.0);
    const std::vector<int32_t> labels{10, 0, 4};
    auto dlogits = logits;
    std::vector<double> losses(3), losses_of_capped(3);
    std::vector<uint8_t> correct(3), correct_of_capped(3);
    cpu::cross_entropy_forward_backward(kDevice, losses.data(), correct.data(), dlogits.view(), labels, 0.5f, cap);
    CHECK(dlogits.padding_untouched());
    const auto loss_of_capped = [&] {
        auto capped = logits;
        for (int64_t n = 0; n < 3; n++)
            for (int64_t v = 0; v < 11; v++) capped(n, v) = double{cap} * std::tanh(logits(n, v) / double{cap});
        cpu::cross_entropy_forward<double>(kDevice, losses_of_capped.data(), correct_of_capped.data(), capped.view(),
                                           labels);
        return 0.5 * (losses_of_capped[0] + losses_of_capped[1] + losses_of_capped[2]);
    };
    CHECK(gradient_error(logits, dlogits, loss_of_capped) < kGradientTolerance);
    loss_of_capped();
    for (int64_t n = 0; n < 3; n++) CHECK(losses[n] == Approx(losses_of_capped[n]).epsilon(1e-12));
    CHECK(correct == correct_of_capped);
}

TEST_CASE("capped cross-entropy in float is that in double, with logits far beyond the cap, too", "[cross_entropy]") {
    const float cap = 30.0f;
    const auto logits = random_buffer<float>(4, 5000, 1, 20.0);
    const std::vector<int32_t> labels{0, 2500, 4999, 17};
    auto seen = logits;
    Buffer<double> expected(4, 5000);
    for (int64_t n = 0; n < 4; n++)
        for (int64_t v = 0; v < 5000; v++) expected(n, v) = double{logits(n, v)};
    std::vector<float> losses(4);
    std::vector<double> expected_losses(4);
    std::vector<uint8_t> correct(4);
    cpu::cross_entropy_forward_backward(kDevice, losses.data(), correct.data(), seen.view(), labels, 0.25f, cap);
    cpu::cross_entropy_forward_backward(kDevice, expected_losses.data(), correct.data(), expected.view(), labels, 0.25f,
                                        cap);
    Buffer<float> narrowed(4, 5000);
    for (int64_t n = 0; n < 4; n++) {
        CHECK(losses[n] == Approx(expected_losses[n]).epsilon(1e-6));
        for (int64_t v = 0; v < 5000; v++) narrowed(n, v) = static_cast<float>(expected(n, v));
    }
    // A capped logit of 30 is known to 30 * 2e-7, and so, relatively, is a probability.
    CHECK(largest_difference(seen, narrowed) < 0.25 * 6e-6);
}

TEST_CASE("cross-entropy of huge logits stays finite", "[cross_entropy]") {
    Buffer<float> logits(2, 20);
    logits.fill(-1e30f);
    logits(0, 3) = 1e30f;
    logits(1, 3) = 30000.0f;
    const std::vector<int32_t> labels{3, 5};
    std::vector<float> losses(2);
    std::vector<uint8_t> correct(2);
    cpu::cross_entropy_forward_backward(kDevice, losses.data(), correct.data(), logits.view(), labels, 1.0f);
    CHECK(losses[0] == 0.0f);
    CHECK(int{correct[0]} == 1);
    CHECK(losses[1] == Approx(1e30));
    CHECK(int{correct[1]} == 0);
    CHECK(logits(1, 3) == 1.0f);
    CHECK(logits(1, 5) == -1.0f);
    CHECK(logits(1, 6) == 0.0f);
}

TEST_CASE("a soft cap keeps huge logits finite", "[cross_entropy]") {
    Buffer<float> logits(1, 20);
    logits.fill(-1e30f);
    logits(0, 3) = 1e30f;
    const std::vector<int32_t> labels{4};
    std::vector<float> losses(1);
    std::vector<uint8_t> correct(1);
    cpu::cross_entropy_forward_backward(kDevice, losses.data(), correct.data(), logits.view(), labels, 1.0f, 30.0f);
    CHECK(losses[0] == Approx(60.0));
    for (int64_t v = 0; v < 20; v++) CHECK(std::abs(logits(0, v)) < 1e-6);  // the cap is flat there
}

TEST_CASE("of several largest logits the lowest index is the prediction", "[cross_entropy]") {
    Buffer<float> logits(2, 40);
    logits(0, 17) = logits(0, 30) = logits(1, 17) = logits(1, 30) = 2.0f;
    std::vector<float> losses(2);
    std::vector<uint8_t> correct(2);
    cpu::cross_entropy_forward<float>(kDevice, losses.data(), correct.data(), logits.view(),
                                      std::vector<int32_t>{17, 30});
    CHECK(int{correct[0]} == 1);
    CHECK(int{correct[1]} == 0);
}

TEST_CASE("a label outside the vocabulary is refused", "[cross_entropy]") {
    Buffer<float> logits(1, 4);
    float loss;
    uint8_t correct;
    const int32_t label = GENERATE(-100, 4);
    CHECK_THROWS_WITH(
        cpu::cross_entropy_forward<float>(kDevice, &loss, &correct, logits.view(), std::vector<int32_t>{label}),
        Catch::Matchers::ContainsSubstring("label 0 is " + std::to_string(label)));
    CHECK_THROWS_AS(
        cpu::cross_entropy_forward_backward(kDevice, &loss, &correct, logits.view(), std::vector<int32_t>{label}, 1.0f),
        Error);
    CHECK_THROWS_WITH(cpu::cross_entropy_forward_backward(kDevice, &loss, &correct, logits.view(),
                                                          std::vector<int32_t>{0}, 1.0f, -1.0f),
                      Catch::Matchers::ContainsSubstring("soft cap"));
}

TEST_CASE("cross-entropy of no rows does nothing", "[cross_entropy]") {
    Buffer<float> logits(0, 4);
    cpu::cross_entropy_forward<float>(kDevice, nullptr, nullptr, logits.view(), {});
    cpu::cross_entropy_forward_backward(kDevice, nullptr, nullptr, logits.view(), {}, 1.0f);
    CHECK(logits.padding_untouched());
}
