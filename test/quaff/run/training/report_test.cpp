#include "quaff/run/training/report.h"

#include <limits>

#include "test/catch.h"

using namespace quaff;

namespace {

StepFigures figures(double loss, double grad_norm, int64_t tokens, double speed_of_light) {
    StepFigures figures;
    figures.loss = loss;
    figures.grad_norm = grad_norm;
    figures.learning_rate = 2e-4;
    figures.tokens = tokens;
    figures.seconds = 1;
    figures.speed_of_light = speed_of_light;
    figures.peak_memory = int64_t{2} << 30;
    return figures;
}

}  // namespace

TEST_CASE("a step's line holds its figures and fits a terminal", "[report]") {
    const std::string whole =
        "step 12/1050  loss 0.1234  grad norm 1.234  lr 2.0e-04  12,345 tokens/s  45% SOL  2.00 GiB  ETA 3m05s";
    for (const int columns : {0, 200, static_cast<int>(whole.size()) + 1})
        CHECK(step_line(12, 1050, figures(0.12344, 1.2344, 12345, 0.45), 185, columns) == whole);
    CHECK(step_line(12, 1050, figures(0.12344, 1.2344, 12345, 0.45), 185, 80) ==
          "step 12/1050  loss 0.1234  grad 1.234  lr 2.0e-04  12,345 tok/s  45% SOL  3m05s");
    CHECK(step_line(100000, 100000, figures(0.12344, 1.2344, 999999, 1), 39720, 80) ==
          "step 100000/100000 loss 0.1234 grad 1.234 lr 2.0e-04 1.0M tok/s 100% SOL 11h02m");
    for (const int64_t steps : {1, 1050, 100000})
        for (const double loss : {0.0123, 2.3456, 10.82567, 123.456})
            for (const double grad_norm : {0.01234, 9.9999, 123.456, 9876.5})
                for (const int64_t tokens : {7, 12345, 99999, 999999}) {
                    const std::string line = step_line(steps, steps, figures(loss, grad_norm, tokens, 0.45), 39720, 80);
                    CAPTURE(line, line.size());
                    CHECK(line.size() <= 79);
                    CHECK(line.find("loss ") != line.npos);
                }
    const double infinity = std::numeric_limits<double>::infinity();
    CHECK(step_line(3, 10, figures(1, infinity, 100, 0.1), 1, 80) ==
          "step 3/10  loss 1.0000  grad inf  lr 2.0e-04  100 tok/s  10% SOL  1s");
    CHECK(step_line(3, 10, figures(123.4, 12, 100, 0.1), 1, 80) ==
          "step 3/10  loss 123.4  grad 12.00  lr 2.0e-04  100 tok/s  10% SOL  1s");
}
