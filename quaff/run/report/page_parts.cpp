#include "quaff/run/report/page_parts.h"

#include <algorithm>
#include <set>

#include "llmc/core/error.h"
#include "llmc/core/markup.h"
#include "llmc/core/words.h"
#include "llmc/io/file_io.h"
#include "llmc/io/path.h"
#include "llmc/system/child_process.h"
#include "llmc/system/terminal.h"

namespace quaff {

using namespace llmc;

namespace fs = std::filesystem;

namespace {

constexpr size_t kMostRows = 120, kMostColumns = 20;  // of the table of evaluations
constexpr size_t kMostOptions = 200;
constexpr int kMostCharacters = 300;          // of an option's value
constexpr int64_t kLargestPicture = 400'000;  // bytes

std::string short_text(const std::string& text) {
    return escape_markup(cut(text, kMostCharacters));
}

// An img cannot run what a foreign picture might hold.
std::string base64(const std::string& bytes) {
    constexpr const char* kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string text;
    for (size_t i = 0; i < bytes.size(); i += 3) {
        const auto byte = [&](size_t j) { return j < bytes.size() ? static_cast<unsigned char>(bytes[j]) : 0u; };
        const unsigned group = byte(i) << 16 | byte(i + 1) << 8 | byte(i + 2);
        for (size_t j = 0; j < 4; ++j) text += i + j > bytes.size() ? '=' : kDigits[group >> (18 - 6 * j) & 63];
    }
    return text;
}

}  // namespace

RunOptions::RunOptions(const fs::path& folder) {
    const fs::path config = folder / "config.toml";
    try {
        if (path_exists(config)) entries = read_toml(config.string());
    } catch (const std::exception& error) {
        problem = error.what();
    }
}

std::string RunOptions::value(const std::string& name) const {
    for (const TomlEntry& entry : entries)
        if (entry.name == name && !entry.values.empty()) return entry.values.front();
    return "";
}

std::string heat_map_of(const RunLog& run) {
    const fs::path picture = run.folder() / "ossh.svg";
    std::error_code none;
    // A link would bring a file from elsewhere into a page that is handed on.
    const bool is_there = fs::is_regular_file(fs::symlink_status(picture, none));
    const auto size = is_there ? static_cast<int64_t>(fs::file_size(picture, none)) : 0;
    if (none || size <= 0) return "";
    const std::string begin = "<h2>Outlier channels</h2>\n";
    if (size > kLargestPicture)
        return begin + "<p class=\"weak\">The heat map is too large for this page: ossh.svg, beside the log.</p>\n";
    return begin +
           "<figure class=\"wide\"><img alt=\"how many of each step's outlier channels were chosen before training\" "
           "src=\"data:image/svg+xml;base64," +
           base64(read_file(picture, kLargestPicture)) + "\"></figure>\n";
}

std::string evaluations_table(const RunLog& run) {
    const std::vector<LoggedEvaluation>& all = run.evaluations();
    if (all.empty()) return "";
    std::set<std::string> names;
    for (const LoggedEvaluation& evaluation : all)
        for (const auto& [name, value] : evaluation.figures)
            if (names.size() < kMostColumns) names.insert(name);
    std::string html = "<h2>Evaluations</h2>\n<div class=\"box\"><table class=\"figures\"><tr><th>step</th>";
    for (std::string name : names) {
        std::ranges::replace(name, '_', ' ');
        html += "<th>" + short_text(name) + "</th>";
    }
    html += "</tr>\n";
    const size_t rows = std::min(all.size(), kMostRows);
    for (size_t row = 0; row < rows; ++row) {
        const LoggedEvaluation& evaluation = all[rows == 1 ? 0 : row * (all.size() - 1) / (rows - 1)];
        html += concat("<tr><td>", evaluation.step, "</td>");
        for (const std::string& name : names) {
            const auto found = evaluation.figures.find(name);
            html += "<td>" + (found == evaluation.figures.end() ? "" : format("%.6g", found->second)) + "</td>";
        }
        html += "</tr>\n";
    }
    html += "</table></div>\n";
    if (rows < all.size())
        html +=
            concat("<p class=\"weak\">", rows, " of ", all.size(), " evaluations; all of them are in log.jsonl.</p>\n");
    return html;
}

std::string options_table(const RunOptions& options) {
    if (options.entries.empty()) return "";
    std::string html = "<h2>Options</h2>\n<div class=\"box\"><table class=\"options\">";
    for (size_t i = 0; i < std::min(options.entries.size(), kMostOptions); ++i)
        html += "<tr><th>" + short_text(options.entries[i].name) + "</th><td>" +
                short_text(join(options.entries[i].values, ", ", ", ")) + "</td></tr>\n";
    return html + "</table></div>\n";
}

std::string commands_of(const RunLog& run, const RunOptions& options) {
    const std::string model = options.value("model"), folder = without_slash(run.folder()).string();
    const bool is_told = !model.empty() && model.size() <= kMostCharacters;
    const std::string with = concat(is_told ? "--model " + shell_word(model) : "--model DIR", " --adapter ",
                                    shell_word((fs::path(folder) / "adapter").string()));
    const std::pair<const char*, std::string> commands[] = {
        {"Resume from the newest checkpoint", "train --resume --out " + shell_word(folder)},
        {"Evaluate", concat("eval ", with, " --data FILE")},
        {"Generate", concat("generate ", with, " --prompt \"...\"")},
        {"Merge into the weights", concat("merge ", with, " --out DIR")}};
    std::string html = "<h2>Next</h2>\n<div class=\"box\">";
    for (const auto& [what, command] : commands)
        html += concat("<span class=\"weak\">", what, "</span><pre>./train_quaff ", escape_markup(command), "</pre>\n");
    return html + "</div>\n";
}

}  // namespace quaff
