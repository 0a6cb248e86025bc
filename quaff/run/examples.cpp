#include "quaff/run/examples.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "llmc/core/error.h"
#include "llmc/data/show_tokens.h"
#include "quaff/files/quaff_json.h"

namespace quaff {

namespace fs = std::filesystem;

namespace {

ChatOfAdapter chat_of_adapter(const std::string& folder, const ModelConfig& config) {
    if (folder.empty()) return {};
    const std::optional<QuaffState> state = read_quaff_state(folder, config);
    return {state ? state->chat : std::nullopt, folder};
}

Conversation asking(const std::string& text) {
    Conversation conversation;
    conversation.messages = Json::array({Json{{"role", "user"}, {"content", text}}});
    return conversation;
}

// The text of the ids, by id.
std::vector<std::string> pieces_of(const Tokenizer& tokenizer, std::span<const int32_t> ids) {
    TextStream stream(tokenizer, /*skip_special=*/false);
    std::vector<std::string> pieces;
    for (const int32_t id : ids) pieces.push_back(stream.push(id));
    if (!pieces.empty()) pieces.back() += stream.finish();
    return pieces;
}

}  // namespace

ExampleReader::ExampleReader(const Options& options, const ModelConfig& config, Terminal& terminal)
    : options_(options), config_(config), terminal_(terminal) {
    const fs::path folder = options.model.folder;
    if (fs::exists(folder / "tokenizer.json") || fs::exists(folder / "tokenizer.model"))
        tokenizer_ = Tokenizer::load(folder);
    tell_limits();
    // A resumed run follows its checkpoint, once that is found.
    if (options.training.resume.empty()) follow(options.model.adapter);
}

void ExampleReader::follow(const fs::path& adapter) {
    chat_ = std::make_unique<Chat>(options_, chat_of_adapter(adapter.string(), config_), tokenizer_.get(),
                                   encoding().eos_id, terminal_);
    end_tokens_ = config_.eos_token_ids;
    if (tokenizer_ && tokenizer_->eos_id()) end_tokens_.push_back(*tokenizer_->eos_id());
    if (const ChatEncoder* chat = chat_->encoder())
        std::ranges::copy(chat->end_tokens(), std::back_inserter(end_tokens_));
}

TextEncoding ExampleReader::encoding() const {
    TextEncoding encoding;
    if (!tokenizer_) return encoding;
    encoding.encode = [this](std::string_view text) { return tokenizer_->encode(text); };
    encoding.is_special = [this](int32_t id) { return tokenizer_->is_special(id); };
    encoding.bos_id = tokenizer_->bos_id().value_or(config_.bos_token_id.value_or(-1));
    encoding.eos_id = tokenizer_->eos_id().value_or(config_.eos_token_ids.empty() ? -1 : config_.eos_token_ids.front());
    encoding.adds_bos = tokenizer_->adds_bos();
    return encoding;
}

std::vector<int32_t> ExampleReader::encode_prompt(const std::string& text) const {
    const ChatEncoder* chat = chat_->encoder();
    return chat ? chat->encode_prompt(asking(text)) : llmc::encode_prompt(encoding(), text);
}

void ExampleReader::tell_limits() const {
    const int64_t positions = config_.max_position_embeddings;
    const auto tell = [&](const char* name, int64_t asked, int64_t usual) {
        if (positions > 0 && asked > positions && asked != usual)
            terminal_.warn(concat("--", name, " ", asked, ": the model has only ", positions,
                                  " positions, and a longer example is refused"));
    };
    tell("source-max-len", options_.data.source_max_len, DataOptions().source_max_len);
    tell("target-max-len", options_.data.target_max_len, DataOptions().target_max_len);
}

Dataset ExampleReader::read(const std::vector<std::string>& paths, bool keep_texts) const {
    std::ranges::for_each(paths, check_readable);
    Dataset data = read_file(paths.front(), keep_texts);
    const DataFormat* first = data.format;
    bool alike = true;
    for (size_t i = 1; i < paths.size(); ++i) {
        Dataset more = read_file(paths[i], keep_texts);
        alike = alike && more.format == first;
        data.append(std::move(more));
    }
    if (!alike)
        terminal_.line(
            "the files have different data formats, which take no metrics together unless --metrics names them");
    if (paths.size() > 1)
        terminal_.line(concat(paths.size(), " files together: ", counted(data.size(), "example"), ", ",
                              counted(data.n_tokens(), "token"), ", ", format_count(data.n_labelled()),
                              " of them in the loss"));
    return data;
}

Dataset ExampleReader::read_file(const std::string& path, bool keep_texts) const {
    ExampleOptions limits;
    limits.source_max_len = options_.data.source_max_len;
    limits.target_max_len = options_.data.target_max_len;
    limits.train_on_source = chat_->settings().train_on_source;
    limits.vocab_size = config_.vocab_size;
    limits.max_positions = config_.max_position_embeddings;
    limits.strict = options_.data.strict;
    limits.format = {chat_->settings().data_format, static_cast<uint64_t>(options_.compute.seed)};
    limits.keep_texts = keep_texts;
    limits.columns = parse_column_names(options_.data.columns);
    limits.no_template = chat_->why_none();
    ConversationEncoder encode_conversation;
    if (const ChatEncoder* chat = chat_->encoder())
        encode_conversation = [chat](const Conversation& conversation) { return chat->encode(conversation); };
    Dataset data = read_examples(path, encoding(), limits, encode_conversation);
    report(path, data);
    report_layout(path, data);
    return data;
}

void ExampleReader::report(const std::string& path, const Dataset& data) const {
    terminal_.line(concat(path, ": ", counted(data.size(), "example"), ", ", counted(data.n_tokens(), "token"), ", ",
                          format_count(data.n_labelled()), " of them in the loss"));
    if (data.format && chat_->settings().data_format == kFormatOfColumns)
        terminal_.line(concat(path, ": read as ", data.format->name,
                              ", whose columns it has; --data-format none takes its columns as they are"));
    for (const std::string& sentence : data.notes.sentences()) terminal_.warn(concat(path, ": ", sentence));
    if (data.dropped.total() > 0) terminal_.warn(concat(path, ": dropped ", data.dropped.describe()));
    if (data.skipped.count == 0) return;
    terminal_.warn(concat(path, ": ", counted(data.skipped.count, "record"), " cannot be used and ",
                          data.skipped.count == 1 ? "is" : "are", " left out:"));
    for (const std::string& reason : data.skipped.reasons) terminal_.warn("  " + reason);
}

void ExampleReader::report_layout(const std::string& path, const Dataset& data) const {
    const LayoutCounts& counts = data.layout;
    std::string what;
    if (counts.pairs > 0) what = counted(counts.pairs, "pair");
    if (counts.conversations > 0) what += (what.empty() ? "" : " and ") + counted(counts.conversations, "conversation");
    if (!what.empty()) terminal_.line(concat(path, ": ", what, " laid out in ", chat_->name()));
    if (counts.plain > 0 && chat_->passes_over_own())
        terminal_.line(concat(path, ": ", counted(counts.plain, "pair"), " taken as ",
                              counts.plain == 1 ? "it is" : "they are",
                              ", without the model's chat template (--template none)"));
    for (const auto& [field, n] : counts.unheard)
        terminal_.warn(concat(path, ": the chat template never writes the field \"", field, "\", which ",
                              counted(n, "example"), n == 1 ? " has" : " have"));
    if (counts.empty_answers > 0)
        terminal_.warn(concat(path, ": ", counted(counts.empty_answers, "answer"),
                              counts.empty_answers == 1 ? " is" : " are", " empty"));
    if (counts.only_special > 0)
        terminal_.warn(concat(path, ": ", counted(counts.only_special, "example"),
                              counts.only_special == 1 ? " holds" : " hold", " special tokens alone"));
}

int64_t ExampleReader::show(const Dataset& data, int64_t count) const {
    TokenTexts texts{[this](int32_t id) { return tokenizer_ ? tokenizer_->token_text(id) : std::string(); }};
    if (tokenizer_) {
        texts.is_special = [this](int32_t id) { return tokenizer_->is_special(id); };
        texts.pieces = [this](std::span<const int32_t> ids) { return pieces_of(*tokenizer_, ids); };
    }
    terminal_.result(show_tokens(data.examples, count, texts, terminal_.takes_colour()));
    return std::min(count, data.size());
}

void take_eval_samples(Dataset& data, const Options& options, Terminal& terminal) {
    const int64_t continued = std::ranges::count(data.texts, true, &SourceTarget::continues);
    const int64_t most = options.data.max_eval_samples, all = data.size() - continued;
    if (most == 0 || all <= most) return;
    const double share = static_cast<double>(most) / static_cast<double>(all);
    data = split(std::move(data), share, static_cast<uint64_t>(options.compute.seed)).second;
    terminal.line(
        concat("evaluated on ", format_count(most), " of ", counted(all, "example"), " (--max-eval-samples)"));
}

}  // namespace quaff
