// The command line: one table names every option, its default, its range, the verbs that use it and one line of help.
// Parsing, --help, the option table on the terminal and out/config.toml are all read from that table.
//
//   precedence: command line, then --config FILE, then (train --resume) the run's own config.toml or (the demo's model)
//   dev/demo/demo.toml, then the default
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace quaff {

struct Options {
    std::string verb = "train";

    // model and data
    std::string model = "dev/demo/model";
    std::string data, eval_data, out;
    std::string device = "auto", method, dtype = "auto", adapter, chat_template = "none";
    int64_t source_max_len = 512, target_max_len = 512, show_tokens = 0;
    double eval_split = 0.1;
    bool train_on_source = false;
    std::string strict_data = "on", exact_match = "auto";

    // outlier channels
    std::string outliers, outlier_strategy = "token_max", outlier_max_ratio = "0.02", cal_data;
    double outlier_threshold = 100, scale_momentum = 0.1;
    int64_t max_cal_samples = 512;
    std::string grad_bits = "8";

    // adapters and training
    int64_t lora_r = 16, batch_size = 16, gradient_accumulation_steps = 1, max_steps = -1;
    double lora_alpha = 16, lora_dropout = 0.1, epochs = 1;
    std::string target_modules = "all-linear", lr_scheduler = "constant";
    double learning_rate = 2e-4, warmup_ratio = 0.03, weight_decay = 0, adam_beta1 = 0.9, adam_beta2 = 0.999,
           adam_eps = 1e-8, max_grad_norm = 0.3;
    int64_t eval_steps = 100, save_steps = 100, save_total_limit = 2;
    std::string recompute = "auto", resume;

    // generation
    std::string prompt, prompt_file;
    int64_t max_new_tokens = 256, top_k = 0;
    double temperature = 0, top_p = 1;
    bool chat = false;

    std::string text, path, config;  // tokenize --text, info PATH, --config
    int64_t seed = 0, threads = 0, comm_timeout = 20;
    std::string comm = "auto";
    bool json = false, plan = false, quiet = false;

    std::set<std::string> given;      // options set on the command line or in a file, long names without dashes
    std::vector<std::string> unused;  // options on the command line that have no effect
    std::string help;                 // not empty: --help or --version was asked for, and this is the answer

    bool was_given(const std::string& name) const { return given.contains(name); }
    bool is_demo() const { return !was_given("model"); }
};

// Value of --resume without a folder.
inline constexpr const char* kNewestCheckpoint = "newest";

// Throws llmc::UsageError, one sentence, for anything that is not a valid command line.
Options parse_options(const std::vector<std::string>& arguments);

// The resolved options of the verb as text: for the table on the terminal.
std::vector<std::pair<std::string, std::string>> option_rows(const Options& options);

// The same as a file for --config.
std::string to_toml(const Options& options);

// What a resumed run must share with the one it continues: name and value as text, where a change would make another
// run.
std::vector<std::pair<std::string, std::string>> resume_rows(const Options& options);

// Of the candidates the one with the smallest edit distance to `word`, or "" when none is near.
std::string nearest_name(const std::string& word, const std::vector<std::string>& candidates);

}  // namespace quaff
