#include "quaff/files/hub_cache.h"

#include <algorithm>
#include <cstdlib>

#include "llmc/core/error.h"
#include "llmc/io/file_io.h"
#include "llmc/io/path.h"

namespace quaff {

using namespace llmc;

namespace fs = std::filesystem;

namespace {

// Letters, digits, "-", "_" and "."; neither begins nor ends with "-" or ".", and has neither "--" nor "..": so the hub
// allows, and so no name leads outside the cache.
bool is_hub_word(const std::string& word) {
    const auto is_mark = [](char c) { return c == '-' || c == '.'; };
    const auto is_allowed = [&](char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || is_mark(c);
    };
    return !word.empty() && std::ranges::all_of(word, is_allowed) && !is_mark(word.front()) && !is_mark(word.back()) &&
           word.find("--") == word.npos && word.find("..") == word.npos;
}

}  // namespace

fs::path hub_cache() {
    const auto folder = [](const char* variable) {
        const char* value = std::getenv(variable);
        return fs::path(value == nullptr ? "" : value);
    };
    if (const fs::path cache = folder("HF_HUB_CACHE"); !cache.empty()) return cache;
    if (const fs::path home = folder("HF_HOME"); !home.empty()) return home / "hub";
    if (const fs::path caches = folder("XDG_CACHE_HOME"); !caches.empty()) return caches / "huggingface" / "hub";
    if (const fs::path home = folder("HOME"); !home.empty()) return home / ".cache" / "huggingface" / "hub";
    return "";
}

fs::path find_in_hub_cache(const fs::path& cache, const std::string& name) {
    const size_t slash = name.find('/');
    if (cache.empty() || slash == name.npos) return "";
    const std::string owner = name.substr(0, slash), model = name.substr(slash + 1);
    if (!is_hub_word(owner) || !is_hub_word(model)) return "";
    const fs::path folder = cache / concat("models--", owner, "--", model);
    if (!path_is_directory(folder)) return "";

    constexpr int64_t kLongestCommit = 200;  // bytes; a hash and a line break
    const fs::path branch = folder / "refs" / "main";
    const std::string advice = concat("; fetch it anew: hf download ", name, ", or scripts/fetch_model.sh ", name);
    require(path_exists(branch), folder.string(), ": the cache of Hugging Face lacks the branch main of ", name,
            advice);
    std::string commit = read_file(branch, kLongestCommit);
    while (!commit.empty() && (commit.back() == '\n' || commit.back() == '\r')) commit.pop_back();
    require(is_hub_word(commit), branch.string(), " names no commit", advice);
    const fs::path snapshot = folder / "snapshots" / commit;
    require(path_is_directory(snapshot), snapshot.string(), ", where ", branch.string(), " leads, is not there",
            advice);
    return snapshot;
}

}  // namespace quaff
