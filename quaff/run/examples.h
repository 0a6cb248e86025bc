// Reads data files into examples as the options ask: limits, prompt template, the model's tokenizer.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "llmc/data/examples.h"
#include "llmc/system/terminal.h"
#include "llmc/tokenizer/chat_template.h"
#include "llmc/tokenizer/tokenizer.h"
#include "quaff/files/model_config.h"
#include "quaff/run/options.h"

namespace quaff {

class ExampleReader {
  public:
    // Loads the tokenizer and the templates of options.model.folder. All three arguments must outlive the reader.
    ExampleReader(const Options& options, const ModelConfig& config, Terminal& terminal);

    const Tokenizer* tokenizer() const { return tokenizer_.get(); }  // null: the model's folder has none
    TextEncoding encoding() const;
    // The tokens that end an answer: the config's, the tokenizer's, and the one that ends a turn of the template.
    std::vector<int32_t> end_tokens() const;
    // --template, or the model's own for --chat; nothing otherwise.
    const std::optional<ChatTemplate>& prompt_template() const { return prompt_template_; }

    // Reads a data file under the options' limits and reports what it left out.
    Dataset read(const std::string& path) const;
    // Prints the first `count` examples token by token. Returns how many it printed.
    int64_t show(const Dataset& data, int64_t count) const;

  private:
    // The template that lays out conversations: --template, or the model's own. Throws Error when there is neither.
    const ChatTemplate& conversation_template() const;
    void show_note(const ChatTemplate& own) const;

    const Options& options_;
    const ModelConfig& config_;
    Terminal& terminal_;
    std::unique_ptr<Tokenizer> tokenizer_;
    std::optional<ChatTemplate> prompt_template_, own_template_;
    std::string why_no_template_;        // why own_template_ is empty
    mutable std::once_flag note_shown_;  // own_template_'s, at the first conversation
};

}  // namespace quaff
