#include "quaff/run/examples.h"

#include <algorithm>
#include <filesystem>

#include "llmc/core/error.h"
#include "llmc/data/show_tokens.h"

namespace quaff {

namespace fs = std::filesystem;

ExampleReader::ExampleReader(const Options& options, const ModelConfig& config, Terminal& terminal)
    : options_(options), config_(config), terminal_(terminal) {
    const fs::path folder = options.model.folder;
    if (fs::exists(folder / "tokenizer.json") || fs::exists(folder / "tokenizer.model"))
        tokenizer_ = Tokenizer::load(folder);
    if (options.data.chat_template == kOwnTemplate ||
        (options.generation.chat && options.data.chat_template == kNoTemplate)) {
        prompt_template_ = ChatTemplate::of_model(folder);
        show_note(*prompt_template_);
    } else if (options.data.chat_template != kNoTemplate) {
        prompt_template_ = ChatTemplate::named(options.data.chat_template);
    } else {
        try {
            own_template_ = ChatTemplate::of_model(folder);
        } catch (const Error& error) {
            why_no_template_ = error.what();  // shown once somebody asks for it
        }
    }
}

const ChatTemplate& ExampleReader::conversation_template() const {
    if (prompt_template_) return *prompt_template_;
    require(own_template_.has_value(), "a conversation needs a chat template. ", why_no_template_);
    std::call_once(note_shown_, [this] { show_note(*own_template_); });
    return *own_template_;
}

void ExampleReader::show_note(const ChatTemplate& own) const {
    if (!own.note().empty()) terminal_.warn(own.note());
}

TextEncoding ExampleReader::encoding() const {
    TextEncoding encoding;
    if (!tokenizer_) return encoding;
    encoding.encode = [this](std::string_view text) { return tokenizer_->encode(text); };
    encoding.bos_id = tokenizer_->bos_id().value_or(config_.bos_token_id.value_or(-1));
    encoding.eos_id = tokenizer_->eos_id().value_or(config_.eos_token_ids.empty() ? -1 : config_.eos_token_ids.front());
    encoding.adds_bos = tokenizer_->adds_bos();
    return encoding;
}

std::vector<int32_t> ExampleReader::end_tokens() const {
    std::vector<int32_t> ids = config_.eos_token_ids;
    if (tokenizer_ && tokenizer_->eos_id()) ids.push_back(*tokenizer_->eos_id());
    const auto& around = prompt_template_ ? prompt_template_ : own_template_;
    if (tokenizer_ && around && !around->end_of_turn().empty()) {
        const std::vector<int32_t> end = tokenizer_->encode(around->end_of_turn());
        const auto special = std::ranges::find_if(end, [&](int32_t id) { return tokenizer_->is_special(id); });
        if (special != end.end()) ids.push_back(*special);
    }
    return ids;
}

Dataset ExampleReader::read(const std::string& path) const {
    ExampleOptions limits;
    limits.source_max_len = options_.data.source_max_len;
    limits.target_max_len = options_.data.target_max_len;
    limits.train_on_source = options_.data.train_on_source;
    limits.vocab_size = config_.vocab_size;
    limits.max_positions = config_.max_position_embeddings;
    limits.strict = options_.data.strict;
    PromptTemplate around;
    if (prompt_template_) {
        around = [this](const std::string& source, const std::string& target) {
            return prompt_template_->apply(source, target);
        };
    }
    const auto lay_out = [this](std::span<const Message> messages) {
        return conversation_template().lay_out(messages);
    };
    Dataset data = read_examples(path, encoding(), limits, around, lay_out);
    terminal_.line(concat(path, ": ", counted(data.size(), "example"), ", ", counted(data.n_tokens(), "token"), ", ",
                          format_count(data.n_labelled()), " of them in the loss"));
    if (data.dropped.total() > 0) terminal_.warn(concat(path, ": dropped ", data.dropped.describe()));
    if (data.skipped.count > 0) {
        terminal_.warn(concat(path, ": ", counted(data.skipped.count, "record"), " cannot be used and ",
                              data.skipped.count == 1 ? "is" : "are", " left out:"));
        for (const std::string& reason : data.skipped.reasons) terminal_.warn("  " + reason);
    }
    return data;
}

int64_t ExampleReader::show(const Dataset& data, int64_t count) const {
    const auto text = [this](int32_t id) { return tokenizer_ ? tokenizer_->token_text(id) : std::string(); };
    terminal_.result(show_tokens(data.examples, count, text));
    return std::min(count, data.size());
}

}  // namespace quaff
