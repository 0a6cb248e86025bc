// Guesses what an unknown name was meant to be.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace llmc {

// The candidate that `word` is turned into by the fewest single-letter changes; "" when it takes `too_many` or more.
// Without `too_many`: what is near for a word of this length.
std::string nearest_name(const std::string& word, const std::vector<std::string>& candidates, size_t too_many = 0);

// "; did you mean PREFIXNAME?"; "" for no name.
std::string did_you_mean(const std::string& name, const char* prefix = "");

}  // namespace llmc
