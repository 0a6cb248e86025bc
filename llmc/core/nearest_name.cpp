#include "llmc/core/nearest_name.h"

#include <algorithm>
#include <numeric>

#include "llmc/core/error.h"

namespace llmc {

std::string nearest_name(const std::string& word, const std::vector<std::string>& candidates, size_t too_many) {
    std::string nearest;
    size_t smallest = too_many > 0 ? too_many : std::max<size_t>(3, word.size() / 2 + 1);
    for (const std::string& candidate : candidates) {
        // Levenshtein distance, one row of the table at a time.
        std::vector<size_t> row(candidate.size() + 1);
        std::iota(row.begin(), row.end(), size_t{0});
        for (size_t i = 1; i <= word.size(); ++i) {
            size_t diagonal = row[0];
            row[0] = i;
            for (size_t j = 1; j <= candidate.size(); ++j) {
                const size_t substituted = diagonal + (word[i - 1] != candidate[j - 1]);
                diagonal = row[j];
                row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
            }
        }
        if (row.back() < smallest) {
            smallest = row.back();
            nearest = candidate;
        }
    }
    return nearest;
}

std::string did_you_mean(const std::string& name, const char* prefix) {
    return name.empty() ? "" : concat("; did you mean ", prefix, name, "?");
}

}  // namespace llmc
