#include "llmc/io/safetensors.h"

#include <cmath>
#include <limits>

#include "test/catch.h"
#include "test/files.h"

using namespace llmc;
using test::error_of;
using test::TempDir;
namespace fs = std::filesystem;

namespace {

// A file with this header and so many bytes of data.
std::string file_with(const std::string& header, size_t data_bytes) {
    std::string file;
    for (int i = 0; i < 8; ++i) file += static_cast<char>(header.size() >> (8 * i) & 0xff);
    return file + header + std::string(data_bytes, '\0');
}

std::string open_error(const std::string& content) {
    const TempDir directory;
    directory.write("a.safetensors", content);
    return error_of(directory, [&] { SafetensorsFile(directory / "a.safetensors"); });
}

std::string header_error(const std::string& header, size_t data_bytes) {
    return open_error(file_with(header, data_bytes));
}

}  // namespace

TEST_CASE("what the writer writes the reader reads", "[safetensors]") {
    const TempDir directory;
    const std::vector<float> a = {1, -2.5f, 3, 4, 5, 6}, b = {7, 8};
    const uint16_t half[] = {0x3c00, 0xc000};
    SafetensorsWriter writer(directory / "a.safetensors", {{"b", "F32", {2}},
                                                           {"nothing", "F32", {0, 3}},
                                                           {"a", "F32", {2, 3}},
                                                           {"h", "F16", {2, 1}},
                                                           {"scalar", "F32", {}}});
    writer.write("b", b);
    writer.write("a", std::span(a).first(4));  // in two pieces
    writer.write("a", std::span(a).last(2));
    writer.write("h", std::as_bytes(std::span(half)));
    writer.write("scalar", std::span(a).first(1));
    CHECK_FALSE(fs::exists(directory / "a.safetensors"));
    writer.finish();

    const SafetensorsFile file(directory / "a.safetensors");
    CHECK(file.tensors().size() == 5);
    CHECK(file.metadata().at("format") == "pt");
    CHECK(file.tensor("a").shape == std::vector<int64_t>{2, 3});
    CHECK(file.tensor("nothing").bytes.empty());
    // The first tensor begins at a multiple of 8, so that the reader of a mapped file may use it in place.
    CHECK(reinterpret_cast<uintptr_t>(file.tensor("b").bytes.data()) % 8 == 0);
    std::vector<float> out(6);
    file.read("a", out);
    CHECK(out == a);
    out.resize(2);
    file.read("h", out);
    CHECK(out == std::vector<float>{1, -2});
    file.release("a");
    out.resize(1);
    file.read("scalar", out);
    CHECK(out[0] == 1);
}

TEST_CASE("what nobody writes can be left as zeros that take no room", "[safetensors]") {
    const TempDir directory;
    constexpr int64_t kSize = int64_t{1} << 28;  // a GiB
    SafetensorsWriter writer(directory / "a.safetensors",
                             {{"a", "F32", {3}}, {"b", "F32", {kSize}}, {"c", "F32", {2}}});
    writer.write("a", std::vector<float>{1, 2});
    writer.leave_zero();
    writer.finish();

    const SafetensorsFile file(directory / "a.safetensors");
    std::vector<float> out(3);
    file.read("a", out);
    CHECK(out == std::vector<float>{1, 2, 0});
    file.read_part("b", kSize - 3, out);
    CHECK(out == std::vector<float>{0, 0, 0});
    out = {1, 1};
    file.read("c", out);
    CHECK(out == std::vector<float>{0, 0});
    CHECK(fs::file_size(directory / "a.safetensors") > 4 * kSize);
}

TEST_CASE("the writer refuses what would be a broken file", "[safetensors]") {
    const TempDir directory;
    const std::vector<float> values = {1, 2, 3};
    const auto with = [&](auto&& action) {
        return error_of(directory, [&] {
            SafetensorsWriter writer(directory / "a", {{"x", "F32", {2}}, {"y", "F32", {2}}});
            action(writer);
        });
    };
    CHECK(with([&](auto& w) { w.write("y", values); }) == "a: tensor y was written out of the header's order");
    CHECK(with([&](auto& w) { w.write("x", values); }) == "a: tensor x was given more bytes than its shape holds");
    CHECK(with([&](auto& w) { w.finish(); }) == "a: tensor x was not written to its end");
    CHECK(fs::is_empty(directory.path()));
}

TEST_CASE("a file that is no safetensors file says so", "[safetensors]") {
    CHECK(open_error("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 268\n") ==
          "a.safetensors: is a Git LFS pointer, not the file itself; run git lfs pull in its folder");
    CHECK(open_error("abc") ==
          "a.safetensors: is not a safetensors file: it has 3 bytes, and the header's length alone takes 8");
    CHECK(
        open_error(std::string(8, '\xff')) ==
        "a.safetensors: is not a safetensors file: its first 8 bytes announce a header of 18446744073709551615 bytes, "
        "and the format allows 100000000");
    CHECK(open_error(file_with("{}", 0).substr(0, 9)) ==
          "a.safetensors: the header should have 2 bytes, the file has only 1 after its length; the file is cut short, "
          "fetch it again");
    CHECK(header_error("[]", 0) == "a.safetensors: is not a safetensors file: its header does not start with '{'");
    CHECK(
        header_error("{\"a\": ", 0) ==
        "a.safetensors (header): line 1, column 7 (byte 6): unexpected end of input; expected '[', '{', or a literal");
    CHECK(header_error("{\"a\":" + std::string(200'000, '['), 0) ==
          "a.safetensors (header): nested more than 100 levels deep");
    CHECK(header_error("{}", 0) == "");
}

TEST_CASE("a header that does not fit its file is refused, tensor by tensor", "[safetensors]") {
    const auto one = [](const std::string& fields, size_t bytes = 8) {
        return header_error("{\"w\": " + fields + "}", bytes);
    };
    CHECK(one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})") == "");
    CHECK(one("3") == "a.safetensors: tensor w must be described by an object in the header, found 3");
    CHECK(one(R"({"shape":[2],"data_offsets":[0,8]})") ==
          "a.safetensors: tensor w: field \"dtype\" is missing, it must be a string");
    CHECK(one(R"({"dtype":"F33","shape":[2],"data_offsets":[0,8]})") ==
          "a.safetensors: tensor w has the unknown dtype F33");
    CHECK(one(R"({"dtype":"F32","shape":[-2],"data_offsets":[0,8]})") ==
          "a.safetensors: tensor w: field \"shape\" must be a list of non-negative integers, found [-2]");
    CHECK(one(R"({"dtype":"F32","shape":[2.0],"data_offsets":[0,8]})") ==
          "a.safetensors: tensor w: field \"shape\" must be a list of non-negative integers, found [2.0]");
    CHECK(one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,18446744073709551615]})") ==
          "a.safetensors: tensor w: field \"data_offsets\" must be a list of non-negative integers, found "
          "[0,18446744073709551615]");
    CHECK(one(R"({"dtype":"F32","shape":[2],"data_offsets":[8]})") ==
          "a.safetensors: tensor w must have two data_offsets, found 1");
    CHECK(one(R"({"dtype":"F32","shape":[2],"data_offsets":[8,0]})") ==
          "a.safetensors: tensor w has data_offsets [8, 0], which end before they begin");
    CHECK(one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})", 7) ==
          "a.safetensors: tensor w lies at bytes 0 to 8 of the data, but the file holds only 7; the file is cut short, "
          "fetch it again");
    CHECK(one(R"({"dtype":"F32","shape":[3],"data_offsets":[0,8]})") ==
          "a.safetensors: tensor w has 8 bytes, but F32 [3] takes 12");
    // 2^32 x 2^32 x 4 wraps around to 0 in 64 bits.
    CHECK(one(R"({"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]})", 0) ==
          "a.safetensors: tensor w has 0 bytes, but F32 [4294967296, 4294967296] takes more than 2^63");
    CHECK(one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})", 12) ==
          "a.safetensors: the last 4 bytes of the file belong to no tensor; the file is damaged");
    CHECK(one(R"({"dtype":"F32","shape":[1],"data_offsets":[4,8]})") ==
          "a.safetensors: bytes 0 to 4 of the data, before tensor w, belong to no tensor; the file is damaged");
}

TEST_CASE("tensors that overlap or share a name are refused", "[safetensors]") {
    const std::string w = R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})";
    CHECK(header_error("{\"v\": " + w + ", \"w\": " + w + "}", 8) == "a.safetensors: tensors v and w overlap");
    CHECK(header_error("{\"w\": " + w + ", \"w\": " + w + "}", 8) ==
          "a.safetensors (header): field \"w\" appears twice in the same object");
    CHECK(header_error("{\"v\": " + w + R"(, "w": {"dtype":"F32","shape":[2],"data_offsets":[4,12]}})", 12) ==
          "a.safetensors: tensors v and w overlap");
    CHECK(header_error("{\"__metadata__\": {\"a\": 1}}", 0) ==
          "a.safetensors: __metadata__ field a in the header must be a string");
}

TEST_CASE("a weight that is not finite is named with its place", "[safetensors]") {
    const TempDir directory;
    const auto read = [&](float value) {
        const std::vector<float> values = {1, 2, 3, 4, value, 6};
        SafetensorsWriter writer(directory / "a.safetensors", {{"w", "F32", {2, 3}}, {"i", "I64", {1}}});
        writer.write("w", values);
        writer.write("i", std::span(values).first(2));
        writer.finish();
        return error_of(directory, [&] {
            std::vector<float> out(6);
            SafetensorsFile(directory / "a.safetensors").read("w", out);
        });
    };
    CHECK(read(5) == "");
    CHECK(read(std::nanf("")) == "a.safetensors: tensor w holds NaN at [1, 1]; the file is damaged, fetch it again");
    CHECK(read(-std::numeric_limits<float>::infinity()) ==
          "a.safetensors: tensor w holds an infinite value at [1, 1]; the file is damaged, fetch it again");
    const SafetensorsFile file(directory / "a.safetensors");
    std::vector<float> out(1);
    CHECK(error_of(directory, [&] { file.read("i", out); }) ==
          "a.safetensors: tensor i is stored as I64; F32, F16 and BF16 can be read");
    CHECK(error_of(directory, [&] { file.read("w", out); }) ==
          "a.safetensors: tensor w has 6 elements, 1 were asked for");
    out.resize(3);
    CHECK(error_of(directory, [&] { file.read_part("w", 4, out); }) ==
          "a.safetensors: tensor w has 6 elements, 3 from 4 on were asked for");
    CHECK(error_of(directory, [&] { file.read_part("w", 3, out); }) ==
          "a.safetensors: tensor w holds an infinite value at [1, 1]; the file is damaged, fetch it again");
    file.read_part("w", 1, out);
    CHECK(out == std::vector<float>{2, 3, 4});
    CHECK(error_of(directory, [&] { file.tensor("x"); }) == "a.safetensors: has no tensor x");
}

// 2^16 elements are what one thread converts at a time.
TEST_CASE("a weight longer than one thread's share is read to its last element, from an odd byte on", "[safetensors]") {
    const DType type = GENERATE(DType::f32, DType::f16, DType::bf16);
    CAPTURE(name_of(type));
    const int64_t skipped = 5, size = (1 << 16) + 3 + skipped;
    const std::vector<int64_t> shape = {24, size / 24};
    REQUIRE(shape[0] * shape[1] == size);
    // Integers that all three types hold. No two pieces are alike: 251 is no divisor of 2^16.
    const auto value = [](int64_t i) { return static_cast<float>(37 * i % 251 - 125); };
    const auto write = [&](const TempDir& directory, float last) {
        std::vector<float> values(static_cast<size_t>(size));
        for (int64_t i = 0; i < size; ++i) values[i] = value(i);
        values.back() = last;
        std::vector<std::byte> stored(static_cast<size_t>(size * size_of(type)));
        from_float(type, values.data(), stored.data(), size);
        SafetensorsWriter writer(directory / "a.safetensors", {{"byte", "U8", {1}}, {"w", name_of(type), shape}});
        writer.write("byte", std::as_bytes(std::span("x", 1)));
        writer.write("w", stored);
        writer.finish();
    };
    const TempDir directory;
    std::vector<float> out(static_cast<size_t>(size - skipped));
    write(directory, value(size - 1));
    const SafetensorsFile file(directory / "a.safetensors");
    REQUIRE(reinterpret_cast<uintptr_t>(file.tensor("w").bytes.data()) % 2 == 1);
    file.read_part("w", skipped, out);
    int64_t wrong = 0;
    for (size_t i = 0; i < out.size(); ++i) wrong += out[i] != value(skipped + static_cast<int64_t>(i));
    CHECK(wrong == 0);

    write(directory, std::nanf(""));
    CHECK(error_of(directory, [&] { SafetensorsFile(directory / "a.safetensors").read_part("w", skipped, out); }) ==
          "a.safetensors: tensor w holds NaN at [23, 2730]; the file is damaged, fetch it again");
}
