// Which option an answer names.
#include "llmc/metrics/choice.h"

#include <string>

#include "llmc/core/error.h"
#include "test/catch.h"

using namespace llmc;

namespace {

// The letter of the option among four, or '-'.
char named(const std::string& answer, size_t n_options = 4) {
    const auto option = answer_choice(answer, n_options);
    return option ? letter_of(*option) : '-';
}

}  // namespace

TEST_CASE("an answer that begins with a letter names its option", "[metrics]") {
    for (const char* answer :
         {"B", " B", "b", "b ", "(B)", "(b) 12 apples", "B)", "b)", "B.", "b. Paris", "B: Paris", "B, as above",
          "**B**", "\"B\"", "[B]", "B\nbecause it is", "B because it is", "B\n\nQuestion: (A)"}) {
        INFO(answer);
        CHECK(named(answer) == 'B');
    }
    CHECK(named("A") == 'A');
    CHECK(named("A\nman") == 'A');
    CHECK(named("A. man") == 'A');
}

TEST_CASE("a letter further on counts behind the word answer, in brackets, or alone", "[metrics]") {
    CHECK(named("The answer is (C).") == 'C');
    CHECK(named("First A, then B. So the answer is D") == 'D');
    CHECK(named("Answer: C") == 'C');
    CHECK(named("answer is option **c**.") == 'C');
    CHECK(named("No answer yet (A). The answer: B") == 'B');
    CHECK(named("I choose (D) over C") == 'D');
    CHECK(named("Option C fits") == 'C');
    CHECK(named("A man has D dogs") == 'D');
    CHECK(named("I think so, C", 10) == 'C');
}

TEST_CASE("letters of words and of no option name nothing", "[metrics]") {
    CHECK(named("") == '-');
    CHECK(named("Because") == '-');
    CHECK(named("A man") == '-');
    CHECK(named("E") == '-');
    CHECK(named("E", 5) == 'E');
    CHECK(named("a man with b") == '-');
    CHECK(named("the b of it") == '-');
    CHECK(named("C\xC3\xA9line") == '-');
    CHECK(named("B2") == '-');
    CHECK(named("J", 10) == 'J');
    CHECK(named("A", 0) == '-');
    CHECK_THROWS_AS(answer_choice("A", 27), Error);
}
