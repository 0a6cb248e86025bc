#include "llmc/tokenizer/sentencepiece/sentencepiece_proto.h"

#include <cstdint>
#include <unordered_set>

#include "llmc/core/error.h"
#include "llmc/core/utf8.h"

namespace llmc {

namespace {

constexpr uint64_t kUnigram = 1, kBpe = 2;
constexpr const char* kConvert = "Convert it to a tokenizer.json with transformers.";

// The fields of a message, one after the other.
class Message {
  public:
    Message(std::string_view bytes, const std::string& where) : rest_(bytes), where_(where) {}

    // False at the end.
    bool next() {
        if (rest_.empty()) return false;
        const uint64_t tag = varint();
        field_ = tag >> 3;
        number_ = 0;
        bytes_ = {};
        switch (tag & 7) {
            case 0:
                number_ = varint();
                break;
            case 1:
                take(8);
                break;
            case 2:
                bytes_ = take(varint());
                break;
            case 5:
                take(4);
                break;
            default:
                fail_damaged();
        }
        return true;
    }

    uint64_t field() const { return field_; }
    uint64_t number() const { return number_; }        // of a varint
    std::string_view bytes() const { return bytes_; }  // of what has a length

  private:
    [[noreturn]] void fail_damaged() const {
        fail(where_,
             ": is not a SentencePiece model. The file may be incomplete, or a Git LFS pointer; download it "
             "again.");
    }

    std::string_view take(uint64_t count) {
        if (count > rest_.size()) fail_damaged();
        const std::string_view taken = rest_.substr(0, count);
        rest_.remove_prefix(count);
        return taken;
    }

    uint64_t varint() {
        uint64_t value = 0;
        for (int shift = 0; shift < 64; shift += 7) {
            const auto byte = static_cast<uint8_t>(take(1).front());
            value |= uint64_t{byte & 0x7FU} << shift;
            if (byte < 0x80) return value;
        }
        fail_damaged();
    }

    std::string_view rest_;
    const std::string& where_;
    uint64_t field_ = 0, number_ = 0;
    std::string_view bytes_;
};

// Returns the type of the piece.
uint64_t check_piece(std::string_view bytes, std::unordered_set<std::string_view>& pieces, const std::string& where) {
    std::string_view piece;
    uint64_t type = 1;
    for (Message fields(bytes, where); fields.next();) {
        if (fields.field() == 1) piece = fields.bytes();
        if (fields.field() == 3) type = fields.number();
    }
    const std::string place = concat(where, ": piece ", pieces.size());
    require(!piece.empty(), place, " is empty; the file is damaged, download it again.");
    require(piece.find('\0') == piece.npos && find_invalid_utf8(piece) == piece.npos, place,
            " is not text; the file is damaged, download it again.");
    require(pieces.insert(piece).second, place, " is ", piece,
            ", which occurs twice; the file is damaged, download it again.");
    return type;
}

void read_normalizer(std::string_view bytes, const std::string& where, SentencePieceTraits& traits) {
    for (Message fields(bytes, where); fields.next();) {
        if (fields.field() == 3) traits.adds_space = fields.number() != 0;
        if (fields.field() == 4) traits.drops_spaces = fields.number() != 0;
        if (fields.field() == 5) traits.escapes_spaces = fields.number() != 0;
        require(fields.field() != 2 || fields.bytes().empty(), where,
                ": its normalizer has a character map, which is not supported; LLaMA, Mistral and Phi-3 have none. ",
                kConvert);
    }
}

}  // namespace

SentencePieceTraits check_sentencepiece_proto(std::string_view bytes, const std::string& where) {
    std::unordered_set<std::string_view> pieces;
    uint64_t model_type = kUnigram;
    SentencePieceTraits traits, of_output;
    for (Message model(bytes, where); model.next();) {
        switch (model.field()) {
            case 1:
                if (const uint64_t type = check_piece(model.bytes(), pieces, where); type == 4 || type == 5) {
                    traits.has_special_pieces = true;
                }
                break;
            case 2:
                for (Message trainer(model.bytes(), where); trainer.next();) {
                    require(trainer.field() != 24 || trainer.number() == 0, where,
                            ": it marks a word behind it (treat_whitespace_as_suffix), which is not supported. ",
                            kConvert);
                    if (trainer.field() == 3) model_type = trainer.number();
                    if (trainer.field() == 35) traits.byte_fallback = trainer.number() != 0;
                }
                break;
            case 3:
                read_normalizer(model.bytes(), where, traits);
                require(traits.escapes_spaces, where,
                        ": it leaves spaces as they are (escape_whitespaces false), which is not supported. ",
                        kConvert);
                break;
            case 5:
                read_normalizer(model.bytes(), where, of_output);
                break;
            default:
                break;
        }
    }
    require(!pieces.empty(), where, ": is not a SentencePiece model: it holds no piece. Download it again.");
    require(model_type == kBpe, where, ": is a SentencePiece model of type ", model_type,
            "; BPE, type 2, is supported, which LLaMA, Mistral and Phi-3 have.");
    return traits;
}

}  // namespace llmc
