#include "llmc/training/spike_detector.h"

#include "test/catch.h"

using llmc::SpikeDetector;

TEST_CASE("a value far outside its trailing window has a large z-score", "[spike]") {
    SpikeDetector detector(4);
    for (const double x : {1.0, 3.0, 1.0, 3.0}) CHECK(detector.update(x) == 0);  // the window fills
    CHECK(detector.update(7.0) == Approx(5.0));                                  // mean 2, standard deviation 1
    // Window 3, 1, 3, 7: mean 3.5, variance (0.25 + 6.25 + 0.25 + 12.25) / 4 = 4.75.
    CHECK(detector.update(3.5) == Approx(0.0).margin(1e-12));
    SpikeDetector flat(3);
    for (int i = 0; i < 10; ++i) CHECK(flat.update(2.0) == 0);
    CHECK(flat.update(100.0) == 0);  // no scale to measure by yet
}
