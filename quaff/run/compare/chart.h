// compare.svg: quality against speed, a disc for each method.
//
//   across   seconds of a step
//   up       KL to full precision, after training where there was one, else before
//   area     peak memory of a step
//
// The lower left is the better corner. Text and lines follow the reader's light or dark theme.
#pragma once

#include <string>

#include "quaff/run/compare/comparison.h"

namespace quaff {

// Methods whose figures are not all known are left out.
std::string comparison_chart(const Comparison& comparison);

}  // namespace quaff
