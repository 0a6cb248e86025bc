// Guesses what an unknown name was meant to be.
#pragma once

#include <string>
#include <vector>

namespace quaff::cli {

// The candidate with the smallest edit distance to `word`, or "" when none is near.
std::string nearest_name(const std::string& word, const std::vector<std::string>& candidates);

// "; did you mean --batch-size?", with "--" as the prefix; "" for no name.
std::string did_you_mean(const std::string& name, const char* prefix = "");

}  // namespace quaff::cli
