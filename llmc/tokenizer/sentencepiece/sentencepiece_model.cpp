#include "llmc/tokenizer/sentencepiece/sentencepiece_model.h"

#include <sentencepiece_processor.h>

#include <algorithm>
#include <unordered_set>

#include "llmc/core/error.h"
#include "llmc/core/utf8.h"
#include "llmc/io/file_io.h"

namespace llmc {

namespace {

std::optional<int32_t> if_any(int id) {
    return id >= 0 ? std::optional<int32_t>(id) : std::nullopt;
}

}  // namespace

SentencePieceModel::SentencePieceModel(const std::filesystem::path& path)
    : path_(path.string()), processor_(std::make_unique<sentencepiece::SentencePieceProcessor>()) {
    std::string bytes = read_file(path);
    refuse_lfs_pointer(path, bytes);
    traits_ = check_sentencepiece_proto(bytes, path_);
    // Concatenated protocol buffers merge. This is a ModelProto with nothing but normalizer_spec (field 3) {
    // add_dummy_prefix (3): false, remove_extra_whitespaces (4): false }.
    bytes += std::string_view("\x1A\x04\x18\x00\x20\x00", 6);
    const auto status = processor_->LoadFromSerializedProto(bytes);
    require(status.ok(), path_, ": is not a SentencePiece model (", status.ToString(),
            "). The file may be incomplete, or a Git LFS pointer; download it again.");
    bpe_ = make_bpe();
    if (!bpe_) note_pieces();
}

SentencePieceModel::~SentencePieceModel() = default;

std::unique_ptr<Bpe> SentencePieceModel::make_bpe() const {
    constexpr size_t kLongestPiece = 1024;  // bytes; all ways to cut one are tried, and known ones have up to 48
    if (traits_.has_special_pieces) return nullptr;
    std::vector<Bpe::ScoredToken> tokens;
    std::unordered_set<char32_t> characters, used;
    for (int32_t id = 0; id < n_tokens(); ++id) {
        if (is_control(id) || processor_->IsByte(id)) continue;
        const std::string_view piece = *token(id);
        if (piece.size() > kLongestPiece) return nullptr;
        tokens.push_back({piece, id, processor_->GetScore(id)});
        for (size_t at = 0; at < piece.size(); at += character_at(piece, at).size()) {
            const char32_t character = utf8_code_point(character_at(piece, at));
            (character_at(piece, at).size() == piece.size() ? characters : used).insert(character);
        }
    }
    // The library may merge characters that are no pieces themselves.
    if (!std::ranges::all_of(used, [&](char32_t character) { return characters.contains(character); })) return nullptr;
    std::vector<int32_t> byte_ids;
    for (int byte = 0; traits_.byte_fallback && byte < 256; ++byte) {
        const std::optional<int32_t> byte_id = id(Vocabulary::byte_token(static_cast<char>(byte)));
        if (!byte_id) return nullptr;
        byte_ids.push_back(*byte_id);
    }
    return std::make_unique<Bpe>(std::move(tokens), byte_ids, processor_->unk_id());
}

void SentencePieceModel::encode(std::string_view piece, std::vector<PieceToken>& tokens) const {
    if (bpe_) {
        bpe_->encode(piece, tokens);
    } else {
        WordModel::encode(piece, tokens);
    }
}

// What the library joins is a piece of the vocabulary.
void SentencePieceModel::note_pieces() {
    for (int32_t id = 0; id < n_tokens(); ++id) {
        const std::string_view piece = *token(id);
        std::string_view left = character_at(piece, 0);
        if (left.size() == piece.size() && !is_control(id)) add_character(utf8_code_point(left), id);
        for (size_t at = left.size(); at < piece.size();) {
            const std::string_view right = character_at(piece, at);
            add_junction(utf8_code_point(left), utf8_code_point(right));
            left = right;
            at += right.size();
        }
    }
}

void SentencePieceModel::encode_word(std::string_view word, std::vector<PieceToken>& tokens) const {
    const auto found = processor_->EncodeAsImmutableProto(word);
    tokens.clear();
    uint32_t end = 0;  // of what is covered
    for (size_t i = 0; i < found.pieces_size(); ++i) {
        const auto part = found.pieces(static_cast<int>(i));
        const auto id = static_cast<int32_t>(part.id());
        // The library gives all bytes of a character to the last of its byte tokens; each stands for one.
        const uint32_t begin = processor_->IsByte(id) ? end : part.begin();
        end = processor_->IsByte(id) ? end + 1 : part.end();
        tokens.push_back({id, begin, end});
    }
    require(end == word.size(), path_, ": SentencePiece cannot encode a text of ", word.size(), " bytes.");
}

std::optional<int32_t> SentencePieceModel::id(std::string_view token) const {
    const int id = processor_->PieceToId(token);  // the unknown token's if it does not know the token
    return processor_->IdToPiece(id) == token ? std::optional<int32_t>(id) : std::nullopt;
}

const std::string* SentencePieceModel::token(int32_t id) const {
    return id >= 0 && id < n_tokens() ? &processor_->IdToPiece(id) : nullptr;
}

int32_t SentencePieceModel::n_tokens() const {
    return processor_->GetPieceSize();
}

bool SentencePieceModel::is_control(int32_t id) const {
    return processor_->IsControl(id) || processor_->IsUnknown(id);
}

std::optional<int32_t> SentencePieceModel::bos_id() const {
    return if_any(processor_->bos_id());
}

std::optional<int32_t> SentencePieceModel::eos_id() const {
    return if_any(processor_->eos_id());
}

}  // namespace llmc
