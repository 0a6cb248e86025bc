// A comparison for people: a table for the terminal, and compare.md.
#pragma once

#include <string>

#include "quaff/run/compare/comparison.h"

namespace quaff {

// At most 80 columns:
//
//   method          KL to fp    loss  tokens   exact  s/step    planned       peak
//   before training
//    fp                    0  3.6812   34.2%    9.7%
//    quaff           4.77e-3  3.6919   34.0%    9.3%
//   after 50 steps, mean of 3 seeds
//    fp                    0  1.2345   70.1%   60.0%  0.1234  20.12 MiB  88.10 MiB
//    quaff           2.11e-3  1.2401   70.0%   59.3%  0.1034  12.12 MiB  70.50 MiB
//
// tokens: token accuracy. Of the data's own metrics, the first; compare.md has all. Seconds and memory of a step stand
// with the last figures of the method. What is not known yet is a "-".
std::string comparison_table(const Comparison& comparison);

// The same as Markdown, with all metrics, the range over the seeds, and the commands that were run.
std::string comparison_markdown(const Comparison& comparison);

// "before training", "after 50 steps, mean of 3 seeds".
std::string stage_title(const Comparison& comparison, bool after);

}  // namespace quaff
