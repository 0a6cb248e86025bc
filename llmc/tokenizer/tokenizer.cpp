#include "llmc/tokenizer/tokenizer.h"

#include "llmc/core/error.h"
#include "llmc/core/utf8.h"
#include "llmc/io/path.h"
#include "llmc/tokenizer/tokenizer_parts.h"
#include "llmc/tokenizer/transcript.h"

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

// Encodes what lies between two added tokens that are matched as written.
void encode_between(const TokenizerParts& parts, AlignedText text, Transcript& transcript) {
    parts.normalizer.apply(text);
    std::vector<Piece> pieces;
    for (const auto& [begin, end, id] : parts.as_normalized.cut(text.text())) pieces.push_back({begin, end, id});
    parts.pre_tokenizer.apply(text, pieces);
    std::vector<PieceToken> tokens;
    for (const auto& [begin, end, id] : pieces) {
        if (id >= 0) {
            transcript.add(id, text, {begin, end});
        } else {
            parts.model->encode(text.text().substr(begin, end - begin), tokens);
            transcript.add(tokens, *parts.model, text, begin);
        }
    }
}

}  // namespace

void Tokenizer::encode(std::string_view text, std::vector<int32_t>& ids, std::vector<TextRange>* ranges) const {
    const size_t invalid = find_invalid_utf8(text);
    require(invalid == text.npos, "The text is not UTF-8: byte ", invalid, " of ", text.size(),
            " begins no character. Convert it, for instance with iconv.");
    const bool tracked = ranges || parts_->pre_tokenizer.needs_positions();
    Transcript transcript(text, ids, ranges, parts_->trim_ranges);
    for (const auto& [begin, end, id] : parts_->as_written.cut(text)) {
        if (id >= 0) {
            transcript.add(id, {text, 0, false}, {begin, end});
        } else {
            encode_between(*parts_, {text.substr(begin, end - begin), begin, tracked}, transcript);
        }
    }
}

std::vector<int32_t> Tokenizer::encode(std::string_view text) const {
    std::vector<int32_t> ids;
    encode(text, ids, nullptr);
    return ids;
}

Encoding Tokenizer::encode_with_ranges(std::string_view text) const {
    Encoding encoding;
    encode(text, encoding.ids, &encoding.ranges);
    return encoding;
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
