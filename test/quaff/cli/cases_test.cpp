// The shared cases of conversations (QUAFF_CASES names their folder): the ids and the loss that are right for each.
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "test/quaff/program.h"

using namespace program;

namespace {

struct Shown {
    std::vector<int> ids, loss;
};

// The examples that --show-tokens prints.
std::vector<Shown> parse(const std::string& out) {
    std::vector<Shown> examples;
    std::istringstream lines(out);
    for (std::string line; std::getline(lines, line);) {
        if (line.starts_with("example ")) examples.emplace_back();
        int position = 0, id = 0, length = 0;
        char mark = ' ';
        if (examples.empty() || std::sscanf(line.c_str(), "%d %d%n", &position, &id, &length) != 2) continue;
        std::sscanf(line.c_str() + length, " %c", &mark);
        examples.back().ids.push_back(id);
        examples.back().loss.push_back(mark == '*');
    }
    return examples;
}

bool is_one_of(const std::string& text, const json& words) {
    return std::ranges::any_of(words, [&](const json& word) { return mentions(text, word.get<std::string>()); });
}

void check_examples(const json& expected, const std::vector<Shown>& shown) {
    REQUIRE(shown.size() == expected.size());
    for (size_t i = 0; i < shown.size(); ++i) {
        std::vector<int> ids = expected[i]["ids"], loss = expected[i]["loss"];
        const size_t n = shown[i].ids.size(), cut = expected[i].value("cut", ids.size());
        REQUIRE(n >= cut);
        REQUIRE(n <= ids.size());
        ids.resize(n);
        loss.resize(n);
        CHECK(shown[i].ids == ids);
        CHECK(shown[i].loss == loss);
    }
}

}  // namespace

TEST_CASE("the shared cases of conversations come out right", "[program][cases]") {
    const char* folder = std::getenv("QUAFF_CASES");
    if (!folder) {
        WARN("skipped: QUAFF_CASES does not name the folder of the cases");
        return;
    }
    const fs::path data = fs::path(folder) / "data";
    const Desk desk;
    int n = 0;
    std::ifstream lines(data / "expected.jsonl");
    for (std::string line; std::getline(lines, line);) {
        const json expected = json::parse(line);
        // Those with a text are of conversations.
        if (expected["verb"] != "show-tokens" || !expected.contains("examples") ||
            !expected["examples"][0].contains("text"))
            continue;
        ++n;
        INFO(expected["number"] << " " << expected["name"]);
        std::vector<std::string> arguments = {"train",
                                              "--show-tokens",
                                              "99",
                                              "--source-max-len",
                                              "16000",
                                              "--target-max-len",
                                              "16000",
                                              "--model",
                                              data / expected["model"].get<std::string>()};
        for (const json& file : expected["data"])
            arguments.insert(arguments.end(), {"--data", data / file.get<std::string>()});
        const Ending ending = desk.run(arguments);
        if (ending.status == 1 && expected.contains("or_refused") && is_one_of(ending.err, expected["or_refused"]))
            continue;
        INFO(ending.err);
        REQUIRE(ending.status == 0);
        check_examples(expected["examples"], parse(ending.out));
    }
    CHECK(n > 0);
}
