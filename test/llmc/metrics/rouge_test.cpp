// ROUGE-L against the package rouge-score (dev/reference/make_rouge_golden.py).
#include "llmc/metrics/rouge.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "test/catch.h"

using namespace llmc;

TEST_CASE("rouge_l is the F-measure of rouge-score's rougeL", "[metrics]") {
    std::ifstream golden("test/data/metrics/rouge_l.jsonl");
    int count = 0;
    for (std::string line; std::getline(golden, line); ++count) {
        const auto pair = nlohmann::json::parse(line);
        INFO(line);
        // Both take the same operations in the same order in fp64.
        CHECK(rouge_l(pair["answer"].get<std::string>(), pair["truth"].get<std::string>()) ==
              pair["rouge_l"].get<double>());
    }
    CHECK(count == 62);
}

TEST_CASE("rouge_l does not mind which text is the answer, and bytes that are no UTF-8", "[metrics]") {
    CHECK(rouge_l("a b c d", "b d") == rouge_l("b d", "a b c d"));
    CHECK(rouge_l("\xFF\xFE one \xC4", "one") == 1);
    CHECK(rouge_words("A-b_C 1,2\xE2\x84") == std::vector<std::string>{"a", "b", "c", "1", "2"});
}
