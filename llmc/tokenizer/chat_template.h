// Prompt templates: the text that a chat model expects around what its user says.
//
// The families are known by name and written down here. A model's own template, a Jinja program, is not run but
// recognised by its markers. A conversation is an optional system message, then user and assistant in turn.
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "llmc/tokenizer/conversation.h"

namespace llmc {

class ChatTemplate {
  public:
    // none, alpaca, chatml, llama2, llama3, phi3, zephyr, mistral; throws UsageError for another name.
    static ChatTemplate named(std::string_view name);
    static std::vector<std::string> names();

    // The template of the model in the directory, from chat_template.jinja or tokenizer_config.json.
    static ChatTemplate of_model(const std::filesystem::path& model_directory);

    // Recognises a Jinja template. `where`: the file, for errors; `bos` and `eos`: the tokens that it may refer to.
    static ChatTemplate recognise(std::string_view jinja, const std::string& where, const std::string& bos,
                                  const std::string& eos);

    const std::string& name() const { return name_; }
    // What the model's own template does and this one does not: a sentence, or "".
    const std::string& note() const { return note_; }

    // The text that the assistant's answer continues. It begins with BOS if the family's template does: add no second
    // one.
    std::string prompt(std::string_view user, std::string_view system = "") const;

    // What follows the answer and ends it.
    const std::string& end_of_turn() const { return end_of_turn_; }

    // Source and target of an example, each with its part of the template.
    std::pair<std::string, std::string> apply(std::string_view source, std::string_view target) const;

    // The text of a conversation: an optional system message, then user and assistant in turn, the assistant last.
    std::vector<Turn> lay_out(std::span<const Message> messages) const;

  private:
    std::string first_source(const std::optional<std::string_view>& system, std::string_view user) const;
    std::string_view said(std::string_view message) const;

    // begin [before_system system after_system] before_user user after_user answer end_of_turn
    // { between before_user user after_user answer end_of_turn }
    std::string name_, note_;
    std::string begin_, before_system_, after_system_, before_user_, after_user_, end_of_turn_, between_;
    std::optional<std::string> default_system_;  // for when there is no system message; none: say nothing
    bool trims_ = false;                         // white space around messages is dropped
};

}  // namespace llmc
