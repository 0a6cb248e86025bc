// The lines of ossh.jsonl: what they hold, and that a run can go on from them.
#include "quaff/run/training/stability_record.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "test/catch.h"

using namespace quaff;
using nlohmann::json;

namespace {

// Whose found channels are the n largest of `row`.
OutlierTracker seen(const std::vector<int32_t>& channels, const std::vector<float>& row,
                    const std::vector<float>& s = {}) {
    OutlierTracker tracker(std::ssize(row), channels, OutlierStrategy::top_abs, 0, /*rotation=*/0);
    tracker.look({row.data(), 1, std::ssize(row)}, s, 1);
    return tracker;
}

json line_of(const StabilityRecord& record) {
    return json::parse(to_json(record).dump());
}

}  // namespace

TEST_CASE("the first step has nothing to be compared with, the next one two steps", "[ossh]") {
    FoundBefore before;
    const StabilityRecord first = record_of(1, "a.down_proj", seen({0, 1}, {9, 1, 8, 0}, {2, 4}), before);
    CHECK(first.step == 1);
    CHECK(first.channels == 2);
    CHECK(first.found == 2);
    CHECK(first.hit_rate == 0.5);  // 0 of {0, 2}
    CHECK(std::isnan(first.overlap_previous));
    CHECK(std::isnan(first.overlap_first));
    CHECK(first.scale_mean == 3);
    CHECK(first.entered == std::vector<int32_t>{0, 2});
    CHECK(first.left.empty());
    advance(before, first);
    const StabilityRecord second = record_of(2, "a.down_proj", seen({0, 1}, {9, 8, 1, 0}), before);
    CHECK(second.hit_rate == 1);
    CHECK(second.overlap_previous == Approx(1.0 / 3).epsilon(1e-5));  // six digits
    CHECK(second.entered == std::vector<int32_t>{1});
    CHECK(second.left == std::vector<int32_t>{2});
    CHECK(std::isnan(second.scale_mean));
    advance(before, second);
    CHECK(before.previous == std::vector<int32_t>{0, 1});
    CHECK(before.first == std::vector<int32_t>{0, 2});
    const StabilityRecord third = record_of(3, "a.down_proj", seen({0, 1}, {9, 1, 8, 0}), before);
    CHECK(third.overlap_previous == Approx(1.0 / 3).epsilon(1e-5));
    CHECK(third.overlap_first == 1);
}

TEST_CASE("a line of the file is the record that it was made of", "[ossh]") {
    FoundBefore before;
    const StabilityRecord record = record_of(7, "a.o_proj", seen({1}, {0.1f, 0.7f, 0.3f}), before);
    const json line = line_of(record);
    CHECK(line["overlap_first"].is_null());
    CHECK(line["scale_max"].is_null());
    const std::optional<StabilityRecord> again = stability_record(line);
    REQUIRE(again);
    for (const NamedFigure& figure : kStabilityFigures) {
        CAPTURE(figure.name);
        CHECK(line.contains(figure.name));
        const double value = record.*figure.value, read = (*again).*figure.value;
        CHECK((value == read || (std::isnan(value) && std::isnan(read))));
    }
    CHECK(line_of(*again) == line);
    CHECK(again->entered == std::vector<int32_t>{1});
}

TEST_CASE("a line that is none of the run's is not taken", "[ossh]") {
    FoundBefore before;
    const json good = line_of(record_of(7, "a.o_proj", seen({1}, {0.1f, 0.7f}), before));
    REQUIRE(stability_record(good));
    for (const auto& [key, value] : good.items()) {
        CAPTURE(key);
        json without = good, other = good;
        without.erase(key);
        other[key] = json::object();
        CHECK_FALSE(stability_record(without));
        CHECK_FALSE(stability_record(other));
    }
    json impossible = good;
    impossible["hit_rate"] = 1.5;
    CHECK_FALSE(stability_record(impossible));
    CHECK_FALSE(stability_record(json("text")));
    CHECK_FALSE(stability_record(json{{"step", 1.5}}));
}
