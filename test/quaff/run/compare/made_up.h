// Results of a comparison that nobody measured.
#pragma once

#include "quaff/run/compare/comparison.h"

namespace made_up {

inline quaff::Figures figures(double kl, double loss) {
    return {{"loss", loss},    {"perplexity", 4.5}, {"token_accuracy", 0.25}, {"labelled_tokens", 2195},
            {"examples", 700}, {"kl_to_fp", kl},    {"exact_match", 0.097}};
}

// fp and quaff, evaluated before training.
inline quaff::Comparison evaluated() {
    quaff::Comparison comparison;
    comparison.model = "models/small";
    comparison.options = {{"model", "models/small"}, {"methods", "fp,quaff"}};
    comparison.methods = {{"fp", figures(0, 3.68121), {}}, {"quaff", figures(0.00477, 3.69), {}}};
    comparison.commands = {"./train_quaff eval --method fp", "./train_quaff eval --method quaff"};
    return comparison;
}

// The same, timed.
inline quaff::Comparison timed() {
    quaff::Comparison comparison = evaluated();
    comparison.methods[0].runs = {{0, {0.2, 0.1, 0.3}, 30 << 20, 90 << 20, {}}};
    comparison.methods[1].runs = {{0, {0.08, 0.12}, 20 << 20, 70 << 20, {}}};
    return comparison;
}

// The same, trained for 50 steps with two seeds; the second seed of quaff is still to come.
inline quaff::Comparison trained() {
    quaff::Comparison comparison = timed();
    comparison.steps = 50;
    comparison.seeds = 2;
    comparison.methods[0].runs[0].after = figures(0, 1.5);
    comparison.methods[0].runs.push_back({1, {12, 14}, 31 << 20, 80 << 20, figures(0, 1.6)});
    comparison.methods[1].runs[0].after = figures(0.0021, 1.52);
    return comparison;
}

}  // namespace made_up
