// Reads data files into examples as the options ask: limits, chat template, the model's tokenizer.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "llmc/data/examples.h"
#include "llmc/system/terminal.h"
#include "llmc/tokenizer/tokenizer.h"
#include "quaff/files/model_config.h"
#include "quaff/run/chat.h"
#include "quaff/run/options.h"

namespace quaff {

class ExampleReader {
  public:
    // Loads the tokenizer and the templates of options.model.folder. All three arguments must outlive the reader.
    ExampleReader(const Options& options, const ModelConfig& config, Terminal& terminal);

    // Lays texts out from here on as those were that the adapter in this folder (a checkpoint) was trained on.
    void follow(const std::filesystem::path& adapter);

    const Tokenizer* tokenizer() const { return tokenizer_.get(); }  // null: the model's folder has none
    TextEncoding encoding() const;
    const Chat& chat() const { return *chat_; }
    // The tokens that end an answer: the config's, the tokenizer's, and what ends a turn of the template.
    const std::vector<int32_t>& end_tokens() const { return end_tokens_; }
    // What the model continues when it is asked this.
    std::vector<int32_t> encode_prompt(const std::string& text) const;

    // Reads data files under the options' limits and reports of each what it left out. `keep_texts`: Dataset::texts.
    Dataset read(const std::vector<std::string>& paths, bool keep_texts = true) const;
    // Prints the first `count` examples token by token. Returns how many it printed.
    int64_t show(const Dataset& data, int64_t count) const;

  private:
    // Says which limits the model's positions do not allow.
    void tell_limits() const;
    Dataset read_file(const std::string& path, bool keep_texts) const;
    void report(const std::string& path, const Dataset& data) const;
    void report_layout(const std::string& path, const Dataset& data) const;

    const Options& options_;
    const ModelConfig& config_;
    Terminal& terminal_;
    std::unique_ptr<Tokenizer> tokenizer_;
    std::unique_ptr<Chat> chat_;
    std::vector<int32_t> end_tokens_;
};

// Keeps what --max-eval-samples asks for of the examples to evaluate on, and says so. Pieces of one text stay together.
void take_eval_samples(Dataset& data, const Options& options, Terminal& terminal);

}  // namespace quaff
