#include "llmc/core/arena.h"

#include <cstdint>

#include "llmc/cpu/device.h"
#include "test/catch.h"

using namespace llmc;

namespace {

enum class Kind { weights, activations, workspace };
constexpr MemoryKindInfo kKinds[] = {
    {"weights", "use a smaller model", false}, {"activations", "lower the batch", true}, {"workspace", "", true}};

// A device with `capacity` bytes for each block.
struct SmallDevice {
    int64_t capacity;
    void* allocate(int64_t bytes) const { return bytes <= capacity ? cpu::Device{}.allocate(bytes) : nullptr; }
    void release(void* block, int64_t bytes) const { cpu::Device{}.release(block, bytes); }
};

}  // namespace

TEST_CASE("an arena hands out what was planned, aligned, disjoint and zero", "[arena]") {
    Arena<cpu::Device> arena(cpu::Device{}, kKinds);
    Matrix<float> a;
    std::span<int8_t> b, none;
    Matrix<float> c;
    const auto layout = [&](Arena<cpu::Device>& from) {
        from.place(a, Kind::activations, "a", 3, 5);
        from.place(b, Kind::activations, "b", 7);
        from.place(none, Kind::activations, "none", 0);
        from.place(c, Kind::workspace, "c", 1, 1);
    };
    arena.dry_run(layout);
    CHECK(a.data == nullptr);
    CHECK(b.empty());
    arena.build(layout);

    REQUIRE(a.data != nullptr);
    CHECK(reinterpret_cast<uintptr_t>(a.data) % ArenaBase::kAlignment == 0);
    CHECK(reinterpret_cast<uintptr_t>(b.data()) % ArenaBase::kAlignment == 0);
    CHECK(reinterpret_cast<char*>(b.data()) >= reinterpret_cast<char*>(a.data + a.size()));
    CHECK(b.size() == 7);
    CHECK(none.data() == nullptr);  // absent is null: operators test for it
    CHECK(a(2, 4) == 0.0f);
    CHECK(arena.plan().tensors.size() == 4);
    CHECK(arena.plan().total(Kind::activations) == 2 * ArenaBase::kAlignment);
    CHECK(arena.plan().total() == 3 * ArenaBase::kAlignment);
}

TEST_CASE("a tensor's name begins with its owners'", "[arena]") {
    Arena<cpu::Device> arena(cpu::Device{}, kKinds);
    std::span<float> a;
    arena.build([&](Arena<cpu::Device>& from) {
        {
            const ArenaScope block(from, "block 3");
            from.place(a, Kind::activations, "x", 1);
            const ArenaScope linear(from, "down_proj");
            from.place(a, Kind::activations, "y", 1);
        }
        from.place(a, Kind::activations, "z", 1);
    });
    const std::vector<PlannedTensor>& tensors = arena.plan().tensors;
    CHECK(tensors[0].name == "block 3.x");
    CHECK(tensors[1].name == "block 3.down_proj.y");
    CHECK(tensors[2].name == "z");
}

TEST_CASE("a plan takes over another one's tensors under a name of its own", "[arena]") {
    const auto plan_of = [](int64_t size) {
        Arena<cpu::Device> arena(cpu::Device{}, kKinds);
        std::span<float> values;
        return arena.dry_run([&](Arena<cpu::Device>& from) { from.place(values, Kind::workspace, "values", size); });
    };
    MemoryPlan both = plan_of(1000);
    both.add(plan_of(5000), "second");
    CHECK(both.total() == plan_of(1000).total() + plan_of(5000).total());
    CHECK(both.total(Kind::workspace) == both.total());
    CHECK_THAT(both.describe(static_cast<size_t>(Kind::workspace)),
               Catch::Matchers::ContainsSubstring("second.values"));
}

TEST_CASE("an arena refuses a second run that differs from the plan", "[arena]") {
    for (const auto& [name, rows] : {std::pair("a", 300), std::pair("b", 3)}) {
        Arena<cpu::Device> arena(cpu::Device{}, kKinds);
        Matrix<float> view;
        int runs = 0;
        const auto layout = [&, &name = name, &rows = rows](Arena<cpu::Device>& from) {
            const bool dry = runs++ == 0;
            from.place(view, Kind::workspace, dry ? "a" : name, dry ? 3 : rows, 5);
        };
        CHECK_THROWS_AS(arena.build(layout), Error);
        CHECK(runs == 2);
    }
}

TEST_CASE("an allocation that fails names the tensor, its shape and what to lower", "[arena]") {
    Arena<SmallDevice> arena(SmallDevice{1 << 20}, kKinds);
    Matrix<float> view;
    try {
        arena.build([&](Arena<SmallDevice>& from) {
            from.place(view, Kind::workspace, "small", 8, 8);
            from.place(view, Kind::activations, "block 3.gate_up", 4096, 1024);
        });
        FAIL("16 MiB came out of 1");
    } catch (const Error& error) {
        const std::string message = error.what();
        CHECK(message.find("16.00 MiB of activations (largest: block 3.gate_up fp32[4096, 1024], 16.00 MiB): "
                           "lower the batch") != std::string::npos);
    }
}

TEST_CASE("what is blamed for a lack of memory is worth lowering", "[arena]") {
    Arena<cpu::Device> arena(cpu::Device{}, kKinds);
    Matrix<float> view;
    const MemoryPlan& plan = arena.dry_run([&](Arena<cpu::Device>& from) {
        from.place(view, Kind::weights, "w", 1024, 1024);
        from.place(view, Kind::activations, "a", 1024, 256);
    });
    CHECK(plan.blame(1 << 19).find("of activations") != std::string::npos);
    CHECK(plan.blame(1 << 21).find("of weights") != std::string::npos);
}

TEST_CASE("a tensor whose size overflows is refused", "[arena]") {
    Arena<cpu::Device> arena(cpu::Device{}, kKinds);
    Matrix<float> view;
    CHECK_THROWS_AS(arena.dry_run([&](Arena<cpu::Device>& from) {
        from.place(view, Kind::weights, "huge", int64_t{1} << 40, int64_t{1} << 40);
    }),
                    Error);
}
