#include "test/emu/fibre.h"

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "test/catch.h"

namespace {

// Two fibres and the test take turns; each turn is written down.
struct Conversation {
    emu::Fibre test, a, b;
    std::vector<std::string> turns;
};

void speak_a(void* argument) {
    auto& c = *static_cast<Conversation*>(argument);
    double kept = 0.5;  // locals and saved registers survive the other fibre's turn
    for (int i = 0; i < 2; i++) {
        c.turns.push_back("a" + std::to_string(kept));
        kept *= 2;
        c.a.switch_to(c.b);
    }
    c.a.leave_for_good(c.test);
}

void speak_b(void* argument) {
    auto& c = *static_cast<Conversation*>(argument);
    while (true) {
        c.turns.push_back("b");
        c.b.switch_to(c.a);
    }
}

void catch_inside(void* argument) {
    auto& c = *static_cast<Conversation*>(argument);
    try {
        throw std::runtime_error("thrown on a fibre");
    } catch (const std::runtime_error& error) {
        c.turns.push_back(error.what());
    }
    c.a.leave_for_good(c.test);
}

// The ABI has every frame aligned to 16 bytes; the compiler stores such locals with instructions that insist on it.
void aligned_local(void* argument) {
    auto& c = *static_cast<Conversation*>(argument);
    alignas(16) volatile char local[16];
    c.turns.push_back(std::to_string(reinterpret_cast<uintptr_t>(local) % 16));
    c.a.leave_for_good(c.test);
}

}  // namespace

TEST_CASE("fibres go on where they left off", "[emu][fibre]") {
    Conversation c;
    c.a.start(speak_a, &c);
    c.b.start(speak_b, &c);
    c.test.switch_to(c.a);
    CHECK(c.turns == std::vector<std::string>{"a0.500000", "b", "a1.000000", "b"});
}

TEST_CASE("a fibre can be started again, also in the middle of its work", "[emu][fibre]") {
    Conversation c;
    for (int life = 0; life < 3; life++) {
        c.turns.clear();
        c.a.start(speak_a, &c);
        c.b.start(speak_b, &c);
        c.test.switch_to(c.a);
        CHECK(c.turns.size() == 4);
    }
}

TEST_CASE("exceptions unwind on a fibre's stack", "[emu][fibre]") {
    Conversation c;
    c.a.start(catch_inside, &c);
    c.test.switch_to(c.a);
    CHECK(c.turns == std::vector<std::string>{"thrown on a fibre"});
}

TEST_CASE("a fibre's stack is aligned", "[emu][fibre]") {
    Conversation c;
    c.a.start(aligned_local, &c);
    c.test.switch_to(c.a);
    CHECK(c.turns == std::vector<std::string>{"0"});
}
