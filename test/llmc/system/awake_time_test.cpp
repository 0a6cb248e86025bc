#include "llmc/system/awake_time.h"

#include "test/catch.h"

namespace {

// Stands still until advance() is called.
struct HandSetClock {
    using duration = std::chrono::duration<double>;
    using time_point = std::chrono::time_point<HandSetClock, duration>;
    static inline time_point time;
    static time_point now() { return time; }
    static void advance(double seconds) { time += duration(seconds); }
};
using AwakeTime = llmc::BasicAwakeTime<HandSetClock>;

}  // namespace

TEST_CASE("time that is looked at counts", "[awake_time]") {
    AwakeTime waiting(20);
    for (int i = 0; i < 10; ++i) {
        HandSetClock::advance(0.5);
        waiting.seconds();
    }
    CHECK(waiting.seconds() == Approx(5));
}

TEST_CASE("a stop of the whole job is not a wait, however short the limit", "[awake_time]") {
    for (const double limit : {0.0, 1.0, 2.0, 20.0}) {
        AwakeTime waiting(limit);
        HandSetClock::advance(3600);
        const double counted = waiting.seconds();
        CHECK(counted <= 2);
        if (limit > 0) CHECK(counted <= limit / 4);
    }
}
