#include "llmc/data/examples.h"

#include <algorithm>
#include <cmath>
#include <exception>
#include <nlohmann/json.hpp>

#include "llmc/core/error.h"
#include "llmc/core/program.h"
#include "llmc/data/pieces.h"
#include "llmc/data/shuffle.h"

namespace llmc {
namespace {

// Records are encoded in chunks of this many bytes: enough to keep every thread busy, little beside the examples.
constexpr int64_t kChunkBytes = 4 << 20;
constexpr size_t kChunkRecords = 4096;

enum class Fate { kept, bad, source_too_long, target_too_long, too_long, nothing_labelled };

struct Made {
    Example example;
    SourceTarget text;
    LayoutCounts layout;
    Fate fate = Fate::kept;
    std::string problem;  // of a bad one
};

bool starts_with_bos(const TextEncoding& encoding, const std::vector<int32_t>& ids) {
    return !ids.empty() && ids.front() == encoding.bos_id;
}

void append_eos(const TextEncoding& encoding, std::vector<int32_t>& ids) {
    require(encoding.eos_id >= 0,
            "the model names no end-of-sequence token, so an answer would never end; set eos_token in "
            "tokenizer_config.json or eos_token_id in config.json");
    if (ids.empty() || ids.back() != encoding.eos_id) ids.push_back(encoding.eos_id);
}

void check_ids(const std::vector<int32_t>& ids, int64_t vocab_size) {
    for (int32_t id : ids)
        require(id >= 0 && (vocab_size == 0 || id < vocab_size), "the tokenizer makes token ", id,
                ", but the model's embedding has ", vocab_size, " rows; tokenizer and model do not belong together");
}

class ExampleMaker {
  public:
    ExampleMaker(const TextEncoding& encoding, const ExampleOptions& options,
                 const ConversationEncoder& encode_conversation)
        : encoding_(encoding), options_(options), encode_conversation_(encode_conversation) {}

    Made make(Record& record) const {
        Made made;
        made.example.index = record.index;
        switch (record.kind) {
            case Record::Kind::pair:
                made.fate = encode_conversation_ ? from_laid_out_pair(record, made) : from_plain_pair(record, made);
                break;
            case Record::Kind::text:
                made.fate = from_text(record, made.example);
                break;
            case Record::Kind::tokens:
                made.example.input_ids = std::move(record.input_ids);
                made.example.labels = std::move(record.labels);
                made.fate = whole_too_long(made.example) ? Fate::too_long : Fate::kept;
                break;
            case Record::Kind::conversation:
                made.fate = from_conversation(record, made);
                break;
        }
        if (made.fate != Fate::kept) return made;
        made.text = {std::move(record.source), std::move(record.target), std::move(record.choices)};
        // Most of the memory of a large data set.
        made.example.input_ids.shrink_to_fit();
        made.example.labels.shrink_to_fit();
        if (record.may_be_cut) return made;
        const int64_t length = static_cast<int64_t>(made.example.input_ids.size());
        require(options_.max_positions == 0 || length <= options_.max_positions, "the example has ", length,
                " tokens, but the model has ", options_.max_positions, " positions; lower ", program().source_max_len,
                " or ", program().target_max_len, " to drop examples of this length");
        if (count_labelled(made.example) == 0) made.fate = Fate::nothing_labelled;
        made.layout.only_special = holds_only_special(made.example);
        return made;
    }

  private:
    Fate from_plain_pair(const Record& record, Made& made) const {
        std::vector<int32_t>& ids = made.example.input_ids;
        const std::string source = plain_source(record);
        std::vector<int32_t> target = encode(record.target);
        append_eos(encoding_, target);
        // Without a source, the target may bring its own BOS.
        if (!(source.empty() && starts_with_bos(encoding_, target))) ids = encode_prompt(encoding_, source);
        const int64_t source_len = std::ssize(ids);
        ids.insert(ids.end(), target.begin(), target.end());
        check_ids(ids, options_.vocab_size);
        made.example.labels = ids;
        const int64_t without_loss = options_.train_on_source ? 1 : std::max<int64_t>(source_len, 1);
        std::fill_n(made.example.labels.begin(), std::min(without_loss, std::ssize(ids)), kIgnoreLabel);
        made.layout.plain = 1;
        made.layout.empty_answers = record.target.empty();
        if (source_len > options_.source_max_len) return Fate::source_too_long;
        return std::ssize(target) > options_.target_max_len ? Fate::target_too_long : Fate::kept;
    }

    // The last answer is the target, and all that stands before it the source.
    Fate from_laid_out_pair(const Record& record, Made& made) const {
        const std::vector<char> in_loss = lay_out(to_conversation(record), made);
        made.layout.pairs = 1;
        int64_t end = std::ssize(in_loss);
        while (end > 0 && !in_loss[end - 1]) --end;
        int64_t begin = end;
        while (begin > 0 && in_loss[begin - 1]) --begin;
        if (begin > options_.source_max_len) return Fate::source_too_long;
        return end - begin > options_.target_max_len ? Fate::target_too_long : Fate::kept;
    }

    Fate from_conversation(const Record& record, Made& made) const {
        require(encode_conversation_ || encoding_.encode, kNoTokenizer);
        require(encode_conversation_ != nullptr, "a conversation needs a chat template. ", options_.no_template);
        require(
            !options_.train_on_source || !record.conversation.is_marked,
            "a message is marked to carry no loss, but this run trains on all text; train on answers alone, or take "
            "the marks out of the data");
        lay_out(record.conversation, made);
        made.layout.conversations = 1;
        return whole_too_long(made.example) ? Fate::too_long : Fate::kept;
    }

    // Returns which tokens the conversation has in the loss, train_on_source or not.
    std::vector<char> lay_out(const Conversation& conversation, Made& made) const {
        EncodedConversation encoded = encode_conversation_(conversation);
        Example& example = made.example;
        check_ids(encoded.ids, options_.vocab_size);
        example.labels = encoded.ids;
        for (size_t t = 0; t < encoded.ids.size(); ++t)
            if (t == 0 || (!encoded.in_loss[t] && !options_.train_on_source)) example.labels[t] = kIgnoreLabel;
        example.input_ids = std::move(encoded.ids);
        made.layout.empty_answers = encoded.empty_answers;
        for (const std::string& field : encoded.unheard) made.layout.unheard[field] = 1;
        return std::move(encoded.in_loss);
    }

    bool holds_only_special(const Example& example) const {
        return encoding_.is_special && !example.input_ids.empty() &&
               std::ranges::all_of(example.input_ids, encoding_.is_special);
    }

    Fate from_text(const Record& record, Example& example) const {
        require(encoding_.encode != nullptr, kNoTokenizer);
        example.input_ids = encode_prompt(encoding_, record.target);
        append_eos(encoding_, example.input_ids);
        check_ids(example.input_ids, options_.vocab_size);
        example.labels = example.input_ids;
        if (!example.labels.empty()) example.labels.front() = kIgnoreLabel;
        if (record.may_be_cut) return count_labelled(example) == 0 ? Fate::nothing_labelled : Fate::kept;
        return whole_too_long(example) ? Fate::too_long : Fate::kept;
    }

    std::vector<int32_t> encode(const std::string& text) const {
        require(encoding_.encode != nullptr, kNoTokenizer);
        return encoding_.encode(text);
    }

    bool whole_too_long(const Example& example) const {
        return static_cast<int64_t>(example.input_ids.size()) > options_.source_max_len + options_.target_max_len;
    }

    static constexpr const char* kNoTokenizer =
        "it holds text, but the model's folder has no tokenizer; add its tokenizer.json or give input_ids";

    const TextEncoding& encoding_;
    const ExampleOptions& options_;
    const ConversationEncoder& encode_conversation_;
};

// Tokens of a piece of a long text.
int64_t longest_piece(const ExampleOptions& options) {
    const int64_t limit = options.source_max_len + options.target_max_len;
    return std::max<int64_t>(2, options.max_positions > 0 ? std::min(limit, options.max_positions) : limit);
}

// In pieces of up to `piece` tokens; 0: as a whole.
void append_example(Made made, int64_t piece, bool keep_text, Dataset& data) {
    const auto begin = std::ssize(data.examples);
    if (piece > 0)
        std::ranges::move(pieces_of(std::move(made.example), piece), std::back_inserter(data.examples));
    else
        data.examples.push_back(std::move(made.example));
    if (!keep_text) return;
    data.texts.push_back(std::move(made.text));
    for (auto i = begin + 1; i < std::ssize(data.examples); ++i) data.texts.emplace_back().continues = true;
}

// Encodes a chunk in parallel and appends it in order.
void append_examples(std::vector<Record>& records, const ExampleMaker& maker, const ExampleOptions& options,
                     Dataset& data) {
    const int64_t piece = longest_piece(options);
    std::vector<Made> made(records.size());
    std::exception_ptr failure;  // must not leave the parallel region
#pragma omp parallel for schedule(dynamic, 16)
    for (size_t i = 0; i < records.size(); ++i) {
        try {
            made[i] = maker.make(records[i]);
        } catch (const Error& error) {
            made[i].fate = Fate::bad;
            made[i].problem = error.what();
        } catch (...) {
#pragma omp critical(llmc_data_examples)
            failure = std::current_exception();
        }
    }
    if (failure) std::rethrow_exception(failure);
    for (size_t i = 0; i < records.size(); ++i) {
        switch (made[i].fate) {
            case Fate::kept:
                data.layout.add(made[i].layout);
                append_example(std::move(made[i]), records[i].may_be_cut ? piece : 0, options.keep_texts, data);
                break;
            case Fate::bad:
                require(!options.strict, records[i].where, ": ", made[i].problem);
                data.skipped.add(records[i].where + ": " + made[i].problem);
                break;
            case Fate::source_too_long:
                ++data.dropped.source_too_long;
                break;
            case Fate::target_too_long:
                ++data.dropped.target_too_long;
                break;
            case Fate::too_long:
                ++data.dropped.too_long;
                break;
            case Fate::nothing_labelled:
                ++data.dropped.nothing_labelled;
                break;
        }
    }
    records.clear();
}

void check_any_left(const std::string& path, const Dataset& data, const ExampleOptions& options) {
    if (!data.examples.empty()) return;
    const Dropped& dropped = data.dropped;
    if (dropped.total() == 0)
        fail(path, ": none of its records can be used; the first: ",
             data.skipped.reasons.empty() ? "" : data.skipped.reasons.front());
    if (dropped.total() == dropped.nothing_labelled)
        fail(path,
             ": nothing is labelled in the whole file; the loss needs a target, or labels other than -100 behind "
             "the first position, and no mark (weight, train, ...) or choice of answers that takes all of it out");
    fail(path, ": no example is left; dropped: ", dropped.describe(), ". Raise ", program().source_max_len, " (",
         options.source_max_len, ") or ", program().target_max_len, " (", options.target_max_len, ")");
}

}  // namespace

std::string Dropped::describe() const {
    std::string list;
    const auto add = [&](int64_t count, const std::string& reason) {
        if (count > 0) list += concat(list.empty() ? "" : ", ", count, " ", reason);
    };
    add(source_too_long, concat("with a source over ", program().source_max_len));
    add(target_too_long, concat("with a target over ", program().target_max_len));
    add(too_long, concat("longer than ", program().source_max_len, " and ", program().target_max_len, " together"));
    add(nothing_labelled, "without a labelled token");
    return list.empty() ? "none" : list;
}

void LayoutCounts::add(const LayoutCounts& other) {
    pairs += other.pairs;
    conversations += other.conversations;
    plain += other.plain;
    empty_answers += other.empty_answers;
    only_special += other.only_special;
    for (const auto& [field, n] : other.unheard) unheard[field] += n;
}

int64_t Dataset::n_tokens() const {
    int64_t n = 0;
    for (const Example& example : examples) n += static_cast<int64_t>(example.input_ids.size());
    return n;
}

int64_t Dataset::n_labelled() const {
    int64_t n = 0;
    for (const Example& example : examples) n += count_labelled(example);
    return n;
}

Dataset read_examples(const std::string& path, const TextEncoding& encoding, const ExampleOptions& options,
                      const ConversationEncoder& encode_conversation) {
    Dataset data;
    data.files = {path};
    const ExampleMaker maker(encoding, options, encode_conversation);
    std::vector<Record> chunk;
    int64_t chunk_bytes = 0;
    const ReaderOptions reader = {
        options.strict, {.vocab_size = options.vocab_size, .columns = options.columns}, options.format};
    Reading reading = read_records(path, reader, [&](Record&& record) {
        chunk_bytes += record.bytes;
        chunk.push_back(std::move(record));
        if (chunk_bytes < kChunkBytes && chunk.size() < kChunkRecords) return;
        append_examples(chunk, maker, options, data);
        chunk_bytes = 0;
    });
    append_examples(chunk, maker, options, data);
    for (std::string& reason : reading.skipped.reasons) data.skipped.add(std::move(reason));
    data.skipped.count += reading.skipped.count - std::ssize(reading.skipped.reasons);
    data.notes = std::move(reading.notes);
    data.format = reading.format;
    check_any_left(path, data, options);
    return data;
}

std::vector<int32_t> encode_prompt(const TextEncoding& encoding, std::string_view source) {
    std::vector<int32_t> ids = encoding.encode(source);
    if (encoding.adds_bos && encoding.bos_id >= 0 && !starts_with_bos(encoding, ids))
        ids.insert(ids.begin(), encoding.bos_id);
    return ids;
}

int64_t count_labelled(const Example& example) {
    if (example.labels.empty()) return 0;
    return std::count_if(example.labels.begin() + 1, example.labels.end(), [](int32_t l) { return l != kIgnoreLabel; });
}

Split split_indices(int64_t n, double fraction, uint64_t seed) {
    require(fraction >= 0 && fraction < 1, "the evaluation split must be at least 0 and below 1, not ", fraction);
    int64_t n_eval = 0;
    if (fraction > 0 && n >= 2) n_eval = std::clamp<int64_t>(std::llround(n * fraction), 1, n - 1);
    Split split;
    split.eval = sample_indices(n, n_eval, seed);
    split.train.reserve(n - n_eval);
    for (int64_t i = 0, next = 0; i < n; ++i) {
        if (next < n_eval && split.eval[next] == i)
            ++next;
        else
            split.train.push_back(i);
    }
    return split;
}

std::vector<int64_t> sample_indices(int64_t n, int64_t count, uint64_t seed) {
    std::vector<int64_t> indices = permutation(n, seed, RandomStream::subset);
    indices.resize(std::min(n, count));
    std::sort(indices.begin(), indices.end());
    return indices;
}

std::pair<Dataset, Dataset> split(Dataset all, double fraction, uint64_t seed) {
    std::vector<int64_t> begins;  // of the examples that are no piece of the one before, and the end
    for (int64_t i = 0; i < all.size(); ++i)
        if (all.texts.empty() || !all.texts[i].continues) begins.push_back(i);
    const Split parts = split_indices(std::ssize(begins), fraction, seed);
    begins.push_back(all.size());
    Dataset train, eval;
    train.format = eval.format = all.format;
    const auto move_to = [&](Dataset& part, const std::vector<int64_t>& indices) {
        for (const int64_t index : indices)
            for (int64_t i = begins[index]; i < begins[index + 1]; ++i) {
                part.examples.push_back(std::move(all.examples[i]));
                if (!all.texts.empty()) part.texts.push_back(std::move(all.texts[i]));
            }
    };
    move_to(train, parts.train);
    move_to(eval, parts.eval);
    train.files = eval.files = all.files;
    train.dropped = all.dropped;
    train.skipped = std::move(all.skipped);
    return {std::move(train), std::move(eval)};
}

}  // namespace llmc
