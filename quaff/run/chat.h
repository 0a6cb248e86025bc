// What lays the texts of a run out: the chat template that was asked for, that of the adapter, or the model's own.
//
//   template   --template; else that of the adapter; else the model's own where it has one, else none
//   tools      --tools; else those of the adapter
//   date       --date; else that of the adapter; else today, where the template asks
//   loss on    --loss-on; else as the adapter was trained; else all answers; --train-on-source likewise
//   rows       --data-format; else as the adapter was trained; else recognised by their columns
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "llmc/chat/chat_encoder.h"
#include "llmc/chat/chat_template.h"
#include "llmc/system/terminal.h"
#include "llmc/tokenizer/tokenizer.h"
#include "quaff/files/chat_settings.h"
#include "quaff/run/options.h"

namespace quaff {

// The settings of an adapter, and where they stand ("out/adapter"). Nothing: there is no adapter, or it does not say.
struct ChatOfAdapter {
    std::optional<ChatSettings> settings;
    std::string folder;
};

class Chat {
  public:
    // Tells where the options ask for something else than the adapter was trained with. `tokenizer` may be null, and
    // must outlive the chat. Throws Error when a file of the options cannot be read.
    Chat(const Options& options, const ChatOfAdapter& adapter, const Tokenizer* tokenizer, int32_t eos_id,
         Terminal& terminal);

    const ChatSettings& settings() const { return settings_; }

    // Null: texts are as they are.
    const ChatEncoder* encoder() const { return encoder_ ? &*encoder_ : nullptr; }

    // What lays texts out, in words: "the model's chat template (chat_template.jinja)".
    const std::string& name() const { return name_; }
    // Why there is no encoder, and what to do about it: a sentence.
    const std::string& why_none() const { return why_none_; }
    // The model has a template, which --template none leaves unused.
    bool passes_over_own() const { return passes_over_own_; }

  private:
    void choose_template(const Options& options, const ChatOfAdapter& adapter, Terminal& terminal);
    void take_own_template(const Options& options);
    void tell_change(const std::string& model, const ChatOfAdapter& adapter, Terminal& terminal) const;
    void choose_rest(const Options& options, const ChatOfAdapter& adapter, Terminal& terminal);
    void build(const Options& options, const Tokenizer* tokenizer, int32_t eos_id, Terminal& terminal);

    ChatSettings settings_;
    std::string name_, why_none_;
    bool passes_over_own_ = false;
    std::unique_ptr<ChatTemplate> template_;
    std::optional<ChatEncoder> encoder_;
};

// A list of tools, from a file of JSON. Throws Error for anything else.
Json read_tools(const std::string& file);

// Whether --template may have this value, and which it may have, in words.
bool is_template_choice(const std::string& value);
std::string template_choices();

}  // namespace quaff
