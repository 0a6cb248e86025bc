// Conversations to token ids, and which of them the loss counts.
//
// The conversation is rendered and tokenised as a whole: special tokens in its text are matched, and none is added
// around it. The loss counts every token that holds a character of an answer, and the end of its turn:
//
//   the template marks what the assistant says ({% generation %})   exactly the tokens of these spans, which are those
//                                                                   of transformers' assistant mask
//   else (answer_spans.h)                                           the answer, and what is behind it up to the first
//                                                                   special token if but blanks stand between them:
//                                                                   that token ends the turn, be it the next role's
//
// Behind the last answer all text counts up to a special token, and EOS is put at the end where there is none. Text
// that ends the last turn in this way also ends an earlier one.
//
// A message that must not be trained on has no loss, and neither has the first token, which nothing predicts.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "llmc/chat/chat_template.h"
#include "llmc/core/named.h"
#include "llmc/tokenizer/tokenizer.h"

namespace llmc {

// Which of the assistant's messages the loss counts.
enum class LossOn { all, last };
inline constexpr Named<LossOn> kLossOnNames[] = {{"all", LossOn::all}, {"last", LossOn::last}};

struct EncodedConversation {
    std::vector<int32_t> ids;
    std::vector<char> in_loss;         // of each token
    int empty_answers = 0;             // messages of the assistant in the loss that say nothing
    std::vector<std::string> unheard;  // ChatTemplate::unheard()
    bool ends_in_eos = false;          // EOS was put behind it
};

// Use never changes an encoder: threads may share it.
class ChatEncoder {
  public:
    // The template and the tokenizer must outlive the encoder. `eos_id`: what ends a text; -1: there is none.
    ChatEncoder(const ChatTemplate& chat_template, const Tokenizer& tokenizer, int32_t eos_id, LossOn loss_on)
        : template_(chat_template), tokenizer_(tokenizer), eos_id_(eos_id), loss_on_(loss_on) {}

    // Throws Error when the template refuses the conversation, when an answer cannot be placed, and when an answer
    // needs an EOS that the model does not have.
    EncodedConversation encode(const Conversation& conversation) const;

    // What the assistant's next message continues.
    std::vector<int32_t> encode_prompt(const Conversation& conversation) const;

    // The special tokens that end a turn of the assistant, of a conversation in ordinary words. Empty if the template
    // refuses such a conversation.
    std::vector<int32_t> end_tokens() const;

  private:
    Encoding tokenise(const std::string& text) const;

    const ChatTemplate& template_;
    const Tokenizer& tokenizer_;
    int32_t eos_id_;
    LossOn loss_on_;
};

}  // namespace llmc
