#include "llmc/tokenizer/tokenizer.h"

#include "llmc/core/error.h"
#include "llmc/io/path.h"
#include "llmc/tokenizer/tokenizer_parts.h"
#include "llmc/tokenizer/utf8.h"

namespace llmc {

std::unique_ptr<Tokenizer> Tokenizer::load(const std::filesystem::path& directory) {
    const bool has_json = path_exists(directory / "tokenizer.json");
    require(has_json || path_exists(directory / "tokenizer.model"), directory.string(),
            ": holds neither tokenizer.json nor tokenizer.model. Copy the model's there, or give the data as "
            "input_ids.");
    auto parts = std::make_unique<TokenizerParts>(has_json ? read_tokenizer_json(directory / "tokenizer.json")
                                                           : read_sentencepiece(directory));
    apply_tokenizer_config(*parts, directory);
    parts->finish();
    return std::unique_ptr<Tokenizer>(new Tokenizer(std::move(parts)));
}

Tokenizer::Tokenizer(std::unique_ptr<TokenizerParts> parts) : parts_(std::move(parts)) {}

Tokenizer::~Tokenizer() = default;

namespace {

// Cuts each piece at the tokens that `matcher` finds; the rest goes through `rewrite` first.
template <class Rewrite>
std::vector<Piece> cut_tokens(std::vector<Piece> pieces, const AddedTokenMatcher& matcher, const Rewrite& rewrite) {
    std::vector<Piece> cut;
    for (Piece& piece : pieces) {
        if (piece.id >= 0) {
            cut.push_back(std::move(piece));
            continue;
        }
        const std::string text = rewrite(std::move(piece.text));
        for (const auto& [begin, end, id] : matcher.cut(text)) {
            cut.push_back({text.substr(begin, end - begin), id, piece.begins_text && begin == 0});
        }
    }
    return cut;
}

}  // namespace

std::vector<int32_t> Tokenizer::encode(std::string_view text) const {
    const size_t invalid = find_invalid_utf8(text);
    require(invalid == text.npos, "The text is not UTF-8: byte ", invalid, " of ", text.size(),
            " begins no character. Convert it, for instance with iconv.");
    std::vector<Piece> pieces;
    pieces.push_back({std::string(text), -1, true});
    pieces = cut_tokens(std::move(pieces), parts_->as_written, [](std::string piece) { return piece; });
    pieces = cut_tokens(std::move(pieces), parts_->as_normalized,
                        [this](std::string piece) { return parts_->normalizer.apply(std::move(piece)); });
    parts_->pre_tokenizer.apply(pieces);
    std::vector<int32_t> ids;
    for (const Piece& piece : pieces) {
        if (piece.id >= 0) {
            ids.push_back(piece.id);
        } else {
            parts_->model->encode(piece.text, ids);
        }
    }
    return ids;
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
    TextStream stream(*this, skip_special);
    std::string text;
    for (const int32_t id : ids) text += stream.push(id);
    return text + stream.finish();
}

std::optional<int32_t> Tokenizer::bos_id() const {
    return parts_->bos;
}

std::optional<int32_t> Tokenizer::eos_id() const {
    return parts_->eos;
}

bool Tokenizer::adds_bos() const {
    return parts_->adds_bos;
}

bool Tokenizer::adds_eos() const {
    return parts_->adds_eos;
}

int32_t Tokenizer::vocab_size() const {
    return parts_->max_id() + 1;
}

std::string Tokenizer::token_text(int32_t id) const {
    if (const auto added = parts_->added.find(id); added != parts_->added.end()) return added->second.content;
    const std::string* token = parts_->model->token(id);
    return token ? *token : "";
}

std::optional<int32_t> Tokenizer::token_id(std::string_view token) const {
    return parts_->id(token);
}

bool Tokenizer::is_special(int32_t id) const {
    const auto added = parts_->added.find(id);
    return added != parts_->added.end() && added->second.special;
}

struct TextStream::State {
    const TokenizerParts& parts;
    bool skip_special;
    DecoderRun run;
};

TextStream::TextStream(const Tokenizer& tokenizer, bool skip_special)
    : state_(new State{*tokenizer.parts_, skip_special, tokenizer.parts_->decoder.run()}) {}

TextStream::~TextStream() = default;

std::string TextStream::push(int32_t id) {
    const auto added = state_->parts.added.find(id);
    if (added != state_->parts.added.end()) {
        const AddedToken& token = added->second;
        if (state_->skip_special && token.special) return "";
        return state_->run.push(token.pattern);  // the normalized spelling, which the decoders undo
    }
    const std::string* token = state_->parts.model->token(id);
    return token ? state_->run.push(*token) : "";
}

std::string TextStream::finish() {
    return state_->run.finish();
}

}  // namespace llmc
