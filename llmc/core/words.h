// Words in and out of sentences.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace llmc {

// "a, b, c"; "a, b or c" with last " or ".
inline std::string join(const std::vector<std::string>& words, std::string_view separator = ", ",
                        std::string_view last = ", ") {
    std::string joined;
    for (size_t i = 0; i < words.size(); ++i) {
        if (i > 0) joined += i + 1 == words.size() ? last : separator;
        joined += words[i];
    }
    return joined;
}

// The text without the ASCII white space around it.
inline std::string_view trim(std::string_view text) {
    constexpr std::string_view kSpace = " \t\r\n\v\f";
    text.remove_prefix(std::min(text.find_first_not_of(kSpace), text.size()));
    return text.substr(0, text.find_last_not_of(kSpace) + 1);
}

}  // namespace llmc
