#include "llmc/metrics/rouge.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>

namespace llmc {
namespace {

// Words as numbers, the same for equal words: they compare faster than texts.
class WordNumbers {
  public:
    std::vector<int32_t> of(const std::vector<std::string>& words) {
        std::vector<int32_t> numbers;
        numbers.reserve(words.size());
        for (const std::string& word : words)
            numbers.push_back(known_.try_emplace(word, static_cast<int32_t>(known_.size())).first->second);
        return numbers;
    }

  private:
    std::unordered_map<std::string, int32_t> known_;
};

// Row by row through the table lcs[i][j] of the first i and j words; only one row is kept.
int64_t longest_common_subsequence(std::span<const int32_t> a, std::span<const int32_t> b) {
    std::vector<int64_t> row(b.size() + 1, 0);
    for (const int32_t word : a) {
        int64_t diagonal = 0;  // lcs[i-1][j-1]
        for (size_t j = 1; j <= b.size(); ++j) {
            const int64_t above = row[j];
            row[j] = word == b[j - 1] ? diagonal + 1 : std::max(above, row[j - 1]);
            diagonal = above;
        }
    }
    return row.back();
}

}  // namespace

std::vector<std::string> rouge_words(std::string_view text) {
    // The two characters beyond ASCII whose lower case begins with an ASCII letter: the Kelvin sign is a k, and a
    // capital I with a dot an i with a combining dot, which ends the word.
    constexpr std::string_view kKelvin = "\xE2\x84\xAA", kDottedI = "\xC4\xB0";
    std::vector<std::string> words;
    std::string word;
    const auto end_word = [&] {
        if (!word.empty()) words.push_back(std::move(word));
        word.clear();
    };
    while (!text.empty()) {
        const char c = text.front();
        size_t length = 1;
        if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) {
            word += c;
        } else if (c >= 'A' && c <= 'Z') {
            word += static_cast<char>(c - 'A' + 'a');
        } else if (text.starts_with(kKelvin)) {
            word += 'k';
            length = kKelvin.size();
        } else {
            const bool dotted = text.starts_with(kDottedI);
            if (dotted) word += 'i';
            if (dotted) length = kDottedI.size();
            end_word();
        }
        text.remove_prefix(length);
    }
    end_word();
    return words;
}

double rouge_l(std::string_view answer, std::string_view truth) {
    WordNumbers numbers;
    const std::vector<int32_t> made = numbers.of(rouge_words(answer)), wanted = numbers.of(rouge_words(truth));
    const auto common = static_cast<double>(longest_common_subsequence(wanted, made));
    if (common == 0) return 0;
    const double precision = common / static_cast<double>(made.size()),
                 recall = common / static_cast<double>(wanted.size());
    return 2 * precision * recall / (precision + recall);
}

}  // namespace llmc
