#include "llmc/core/arena.h"

#include <cstdint>

#include "llmc/cpu/device.h"
#include "test/catch.h"

using namespace llmc;

namespace {

// A device with `capacity` bytes for each block.
struct SmallDevice {
    int64_t capacity;
    void* allocate(int64_t bytes) const { return bytes <= capacity ? cpu::Device{}.allocate(bytes) : nullptr; }
    void release(void* block, int64_t bytes) const { cpu::Device{}.release(block, bytes); }
};

}  // namespace

TEST_CASE("an arena hands out what was planned, aligned, disjoint and zero", "[arena]") {
    Arena<cpu::Device> arena{cpu::Device{}};
    Matrix<float> a;
    std::span<int8_t> b, none;
    Matrix<float> c;
    const auto layout = [&] {
        a = arena.matrix<float>(MemoryKind::activations, "a", 3, 5);
        b = arena.vector<int8_t>(MemoryKind::activations, "b", 7);
        none = arena.vector<int8_t>(MemoryKind::activations, "none", 0);
        c = arena.matrix<float>(MemoryKind::workspace, "c", 1, 1);
    };
    layout();
    CHECK(a.data == nullptr);
    CHECK(b.empty());
    arena.commit();
    layout();

    REQUIRE(a.data != nullptr);
    CHECK(reinterpret_cast<uintptr_t>(a.data) % ArenaBase::kAlignment == 0);
    CHECK(reinterpret_cast<uintptr_t>(b.data()) % ArenaBase::kAlignment == 0);
    CHECK(reinterpret_cast<char*>(b.data()) >= reinterpret_cast<char*>(a.data + a.size()));
    CHECK(b.size() == 7);
    CHECK(none.data() == nullptr);  // absent is null: operators test for it
    CHECK(a(2, 4) == 0.0f);
    CHECK(arena.plan().tensors.size() == 4);
    CHECK(arena.plan().total(MemoryKind::activations) == 2 * ArenaBase::kAlignment);
    CHECK(arena.plan().total() == 3 * ArenaBase::kAlignment);
}

TEST_CASE("an arena refuses a second pass that differs from the plan", "[arena]") {
    Arena<cpu::Device> arena{cpu::Device{}};
    arena.matrix<float>(MemoryKind::workspace, "a", 3, 5);
    arena.commit();
    CHECK_THROWS_AS(arena.matrix<float>(MemoryKind::workspace, "a", 300, 5), Error);
    CHECK_THROWS_AS(arena.matrix<float>(MemoryKind::workspace, "b", 3, 5), Error);
}

TEST_CASE("an allocation that fails names the tensor, its shape and the option to lower", "[arena]") {
    Arena<SmallDevice> arena{SmallDevice{1 << 20}};
    arena.matrix<float>(MemoryKind::workspace, "small", 8, 8);
    arena.matrix<float>(MemoryKind::activations, "block 3.gate_up", 4096, 1024);
    try {
        arena.commit();
        FAIL("16 MiB came out of 1");
    } catch (const Error& error) {
        const std::string message = error.what();
        CHECK(message.find("block 3.gate_up fp32[4096, 1024]") != std::string::npos);
        CHECK(message.find("--batch-size") != std::string::npos);
    }
}

TEST_CASE("a tensor whose size overflows is refused", "[arena]") {
    Arena<cpu::Device> arena{cpu::Device{}};
    CHECK_THROWS_AS(arena.matrix<float>(MemoryKind::weights, "huge", int64_t{1} << 40, int64_t{1} << 40), Error);
}
