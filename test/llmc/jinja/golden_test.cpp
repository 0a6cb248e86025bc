// Templates against transformers' own renderer: small ones from test/data/jinja (dev/reference/make_jinja_golden.py),
// and those of real models from the folder $QUAFF_CASES where there is one.
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "llmc/jinja/template.h"
#include "llmc/tokenizer/tokenizer.h"
#include "test/catch.h"
#include "test/files.h"

using namespace llmc;
using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

namespace {

std::vector<Json> lines_of(const fs::path& path) {
    std::vector<Json> lines;
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) lines.push_back(Json::parse(line));
    return lines;
}

// What one template gives: its text, or the error.
struct Outcome {
    std::string text, error;
    std::vector<jinja::Span> generation;
};

Outcome outcome(const std::string& source, const Json& variables, const jinja::RenderOptions& options) {
    Outcome outcome;
    outcome.error = test::error_of([&] {
        jinja::Rendering rendering = jinja::Template::parse(source, "t.jinja").render(variables, options);
        outcome.text = std::move(rendering.text);
        outcome.generation = std::move(rendering.generation);
    });
    return outcome;
}

Json as_json(const std::vector<jinja::Span>& spans) {
    Json json = Json::array();
    for (const jinja::Span& span : spans) json.push_back({span.begin, span.end});
    return json;
}

// Python's errors ("TypeError: ..") are told in other words, those of raise_exception in the template's own.
bool tells(const std::string& error, const std::string& expected) {
    constexpr std::string_view kRaised = "TemplateError: ";
    if (error.empty()) return false;
    return !expected.starts_with(kRaised) || error.find(expected.substr(kRaised.size())) != error.npos;
}

void check_golden(const Json& line, const Json& variables) {
    INFO("template: " << line["template"].get<std::string>());
    const Outcome got = outcome(line["template"], variables, {.date = jinja::Date{2024, 7, 26}});
    INFO("error: " << got.error);
    if (line.contains("text")) {
        CHECK(got.error.empty());
        CHECK(got.text == line["text"].get<std::string>());
        CHECK(as_json(got.generation) == line.value("generation", Json::array()));
    } else {
        CHECK(tells(got.error, line.value("error", "")));
    }
}

// A message as transformers hands it to a template.
Json as_passed(const Json& message) {
    Json passed = Json::object(), reasoning;
    for (const char* name : {"reasoning", "thinking", "reasoning_content"})
        if (message.contains(name) && !message[name].is_null()) reasoning = message[name];
    if (!reasoning.is_null()) passed["thinking"] = reasoning;
    for (const auto& [name, value] : message.items())
        if (!value.is_null()) passed[name] = value;
    if (!reasoning.is_null()) passed["reasoning_content"] = reasoning;
    return passed;
}

Json variables_of(const Json& line) {
    Json variables = {{"messages", Json::array()},
                      {"tools", line.value("tools", Json())},
                      {"documents", nullptr},
                      {"add_generation_prompt", line.value("add_generation_prompt", false)}};
    for (const Json& message : line["messages"]) variables["messages"].push_back(as_passed(message));
    for (const char* token : {"bos_token", "eos_token"})
        if (line.contains(token) && !line[token].is_null()) variables[token] = line[token];
    return variables;
}

jinja::RenderOptions options_of(const Json& line) {
    jinja::RenderOptions options;
    jinja::Date date{};
    if (line.contains("date") &&
        std::sscanf(line["date"].get<std::string>().c_str(), "%d-%d-%d", &date.year, &date.month, &date.day) == 3)
        options.date = date;
    return options;
}

// The words of raise_exception must be told; behind "TypeError: " and its kin there are Python's.
bool is_refused_as(const std::string& error, const std::string& expected) {
    const size_t colon = expected.find(": ");
    const bool of_python = colon != expected.npos && expected.substr(0, colon).ends_with("Error");
    return !error.empty() && (of_python || error.find(expected) != error.npos);
}

// $QUAFF_CASES/templates, or "" and a note.
fs::path templates_folder() {
    const char* cases = std::getenv("QUAFF_CASES");
    if (!cases || !fs::exists(fs::path(cases) / "templates")) {
        WARN("skipped: QUAFF_CASES names no folder with templates");
        return {};
    }
    return fs::path(cases) / "templates";
}

}  // namespace

TEST_CASE("small templates render as transformers renders them", "[jinja]") {
    const Json variables = Json::parse(test::read("test/data/jinja/variables.json"));
    size_t count = 0;
    for (const auto& entry : fs::directory_iterator("test/data/jinja")) {
        if (entry.path().extension() != ".jsonl") continue;
        for (const Json& line : lines_of(entry.path())) {
            check_golden(line, variables);
            ++count;
        }
    }
    CHECK(count > 700);
}

TEST_CASE("templates of real models render as transformers renders them", "[jinja]") {
    const fs::path folder = templates_folder();
    if (folder.empty()) return;
    size_t right = 0, count = 0;
    for (const Json& line : lines_of(folder / "expected.jsonl")) {
        const std::string name = line["template"];
        INFO(name << ", " << line["conversation"].get<std::string>());
        const Outcome got = outcome(test::read(folder / name), variables_of(line), options_of(line));
        INFO("error: " << got.error);
        const bool is_right = line.contains("text") ? got.error.empty() && got.text == line["text"].get<std::string>()
                                                    : is_refused_as(got.error, line["error"]);
        CHECK(is_right);
        right += is_right;
        ++count;
    }
    WARN(right << " of " << count << " conversations in real templates are right");
    CHECK(count > 0);
}

TEST_CASE("generation blocks hold the tokens that transformers marks", "[jinja]") {
    const fs::path folder = templates_folder();
    if (folder.empty()) return;
    std::map<std::string, std::unique_ptr<Tokenizer>> tokenizers;
    for (const Json& line : lines_of(folder / "masks.jsonl")) {
        const std::string name = line["template"], tokenizer = line["tokenizer"];
        INFO(name << ", " << line["conversation"].get<std::string>());
        const Outcome got = outcome(test::read(folder / name), variables_of(line), {});
        REQUIRE(got.text == line["text"].get<std::string>());
        std::unique_ptr<Tokenizer>& model = tokenizers[tokenizer];
        if (!model) model = Tokenizer::load(tokenizer);
        const Encoding encoding = model->encode_with_ranges(got.text);
        CHECK(Json(encoding.ids) == line["input_ids"]);
        std::vector<int> mask(encoding.ids.size());
        for (size_t i = 0; i < mask.size(); ++i)
            for (const jinja::Span& span : got.generation)
                if (encoding.ranges[i].begin < span.end && encoding.ranges[i].end > span.begin) mask[i] = 1;
        CHECK(Json(mask) == line["assistant_masks"]);
    }
}
