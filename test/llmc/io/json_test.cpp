#include "llmc/io/json.h"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "llmc/core/error.h"
#include "test/catch.h"
#include "test/files.h"

using namespace llmc;
using nlohmann::json;
using nlohmann::ordered_json;
using test::error_of;

namespace {

std::string parse_error(std::string_view text) {
    return error_of([&] { parse_json(text, "a.json"); });
}

}  // namespace

TEST_CASE("parse_json reads what nlohmann::json reads", "[json]") {
    const char* text =
        R"({"a": [1, -2, 3.5, true, false, null, [], {}], "b": {"c": "\u00e9\n", "": [[1], [2, {"d": 1e300}]]},
                           "max": 18446744073709551615, "min": -9223372036854775808})";
    CHECK(parse_json(text, "a.json") == json::parse(text));
    CHECK(parse_json("  3 ", "a.json") == json(3));
    CHECK(parse_json("[]", "a.json") == json::array());
}

TEST_CASE("the entries of a long field are handed on and leave the tree", "[json]") {
    using Entries = std::vector<std::pair<std::string, json>>;
    Entries ids, pairs;
    const auto into = [](Entries& entries) {
        return [&entries](std::string& key, json& value) { entries.emplace_back(std::move(key), std::move(value)); };
    };
    const std::vector<LongField> fields = {{"model", "vocab", true, into(ids)},
                                           {"model", "merges", false, into(pairs)}};
    const std::string text =
        R"({"vocab": {"x": 1}, "model": {"merges": [["a", "b"], "c d", []], "a": {"vocab": {"y": 2}},
                                 "vocab": {"b": 1, "a": {"merges": [7]}, "b": 2}, "last": 3}, "merges": [["z"]]})";
    CHECK(parse_json(text, "a.json", fields) ==
          json::parse(R"({"vocab": {"x": 1}, "model": {"merges": [], "a": {"vocab": {"y": 2}}, "vocab": {}, "last": 3},
                          "merges": [["z"]]})"));
    CHECK(ids == Entries{{"b", 1}, {"a", {{"merges", {7}}}}, {"b", 2}});
    CHECK(pairs == Entries{{"", {"a", "b"}}, {"", "c d"}, {"", json::array()}});

    // A list where an object is meant, and the other way round, is for the reader of the tree to refuse.
    ids.clear();
    pairs.clear();
    const std::string swapped = R"({"model": {"vocab": [["a", 1]], "merges": {"a": "b"}}})";
    CHECK(parse_json(swapped, "a.json", fields) == json::parse(swapped));
    CHECK(parse_json(R"([[[1]], {"vocab": {"a": 1}}])", "a.json", fields)[0][0][0] == 1);
    CHECK((ids.empty() && pairs.empty()));

    const std::vector<LongField> throwing = {{"model", "vocab", true, [](std::string&, json&) { fail("no such id"); }}};
    CHECK(error_of([&] { parse_json(text, "a.json", throwing); }) == "no such id");
    CHECK(error_of([&] { parse_json(R"({"model": {"vocab": {"a": 1})", "a.json", fields); }).find("unexpected end") !=
          std::string::npos);
}

TEST_CASE("a syntax error says where it is", "[json]") {
    CHECK(parse_error("{\n  \"a\": 1,\n  \"b\" 2\n}") ==
          "a.json: line 3, column 7 (byte 18): unexpected number literal; expected ':'");
    CHECK(parse_error("{\"a\": [1, 2") == "a.json: line 1, column 12 (byte 11): unexpected end of input; expected ']'");
    CHECK(parse_error("") ==
          "a.json: line 1, column 1 (byte 0): unexpected end of input; expected '[', '{', or a literal");
    CHECK(parse_error("{} x").starts_with("a.json: line 1, column 4"));
    CHECK(parse_error("[1e999]").starts_with("a.json: line 1, column "));
    CHECK(parse_error("{\"a\": 1, \"b\": {\"x\": 1, \"x\": 2}}") ==
          "a.json: field \"x\" appears twice in the same object");
}

TEST_CASE("text that is not UTF-8 is refused", "[json]") {
    CHECK(parse_error("{\"a\": \"\xff\"}").find("ill-formed UTF-8 byte") != std::string::npos);
    CHECK(parse_error("[\"\xc3(\"]").find("ill-formed UTF-8 byte") != std::string::npos);
    CHECK(parse_error("[\"\xed\xa0\x80\"]").find("ill-formed UTF-8 byte") != std::string::npos);  // a lone surrogate
    CHECK(parse_error("[\"\xc3\xa9\"]") == "");
}

TEST_CASE("nesting is bounded before it can exhaust the stack", "[json]") {
    const std::string message = "a.json: nested more than 100 levels deep";
    CHECK(parse_error(std::string(200'000, '[')) == message);
    CHECK(parse_error(std::string(200'000, '[') + std::string(200'000, ']')) == message);
    std::string objects;
    for (int i = 0; i < 200'000; ++i) objects += "{\"a\":";
    CHECK(parse_error(objects) == message);
    CHECK(parse_error(std::string(100, '[') + std::string(100, ']')) == "");
    CHECK(parse_error(std::string(101, '[') + std::string(101, ']')) == message);
}

TEST_CASE("a field of the wrong kind is named, with what it must be and what was found", "[json]") {
    const json tree =
        json::parse(R"({"hidden_size": "abc", "layers": 0, "big": 9223372036854775808, "half": 1.5, "none": null,
        "list": [1, "x"], "flag": 1, "eps": -1, "nested": {"factor": []}, "long": "0123456789012345678901234567890123456789012345678901234567890123456789"})");
    const JsonObject object(tree, "config.json");
    const int64_t kMax = std::numeric_limits<int64_t>::max();
    CHECK(error_of([&] { object.integer("hidden_size", 1, kMax); }) ==
          "config.json: field \"hidden_size\" must be a positive integer, found \"abc\"");
    CHECK(error_of([&] { object.integer("layers", 1, 100); }) ==
          "config.json: field \"layers\" must be a positive integer up to 100, found 0");
    CHECK(error_of([&] { object.integer("big", 0, kMax); }) ==
          "config.json: field \"big\" must be zero or a positive integer, found 9223372036854775808");
    CHECK(error_of([&] { object.integer("half", -3, 3); }) ==
          "config.json: field \"half\" must be an integer from -3 to 3, found 1.5");
    CHECK(error_of([&] { object.integer("none", 1, 2); }) ==
          "config.json: field \"none\" must be a positive integer up to 2, found null");
    CHECK(error_of([&] { object.integer("absent", 1, 2); }) ==
          "config.json: field \"absent\" is missing, it must be a positive integer up to 2");
    CHECK(error_of([&] { object.number("eps", 0, 1); }) ==
          "config.json: field \"eps\" must be a number from 0 to 1, found -1");
    CHECK(error_of([&] { object.boolean("flag"); }) == "config.json: field \"flag\" must be true or false, found 1");
    CHECK(error_of([&] { object.string("layers"); }) == "config.json: field \"layers\" must be a string, found 0");
    CHECK(error_of([&] { object.numbers("list"); }) ==
          "config.json: field \"list\" must be a list of numbers, found [1,\"x\"]");
    CHECK(error_of([&] { object.strings("nested"); }) ==
          "config.json: field \"nested\" must be a list of strings, found {..}");
    CHECK(error_of([&] { object.object("nested").number("factor", 1, 8); }) ==
          "config.json: field \"nested.factor\" must be a number from 1 to 8, found []");
    CHECK(error_of([&] { object.boolean("long"); }) ==
          "config.json: field \"long\" must be true or false, found "
          "\"01234567890123456789012345678901234567890123456789012345678..");
    CHECK(error_of([&] { JsonObject(tree.at("list"), "b.json"); }) ==
          "b.json: must hold a JSON object { .. }, found [1,\"x\"]");
}

TEST_CASE("null counts as absent, as in Hugging Face's configs", "[json]") {
    const json tree = {{"none", nullptr}, {"two", 2}};
    const JsonObject object(tree, "config.json");
    CHECK(object.contains("none"));
    CHECK_FALSE(object.has("none"));
    CHECK(object.integer("none", 1, 9, 7) == 7);
    CHECK(object.integer("two", 1, 9, 7) == 2);
    CHECK(object.number("absent", 0, 1, 0.5) == 0.5);
    CHECK(object.boolean("absent", true));
    CHECK(object.string("none", "x") == "x");
}

TEST_CASE("dump_pretty gives every field a line and every list one line", "[json]") {
    const ordered_json value = {{"b", 1}, {"a", {{"x", {1, 2}}, {"quote\"", "\n"}}}, {"empty", ordered_json::object()}};
    CHECK(dump_pretty(value) ==
          "{\n  \"b\": 1,\n  \"a\": {\n    \"x\": [1,2],\n    \"quote\\\"\": \"\\n\"\n  },\n  \"empty\": {}\n}\n");
}

TEST_CASE("shortest_decimal prints short and loses nothing", "[json]") {
    CHECK(json(shortest_decimal(0.1f)).dump() == "0.1");
    CHECK(json(shortest_decimal(1.25f)).dump() == "1.25");
    for (float x = 1e-30f; x < 1e30f; x *= 1.2345f) CHECK(static_cast<float>(shortest_decimal(x)) == x);
}
