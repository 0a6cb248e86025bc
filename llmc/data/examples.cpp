#include "llmc/data/examples.h"

#include <algorithm>
#include <cmath>
#include <exception>
#include <nlohmann/json.hpp>

#include "llmc/core/error.h"
#include "llmc/core/program.h"
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

// For templates that lay out turns: a system message at most, then user and assistant in turn.
std::vector<Message> messages_of(const Conversation& conversation) {
    std::vector<Message> messages;
    for (const Json& message : conversation.messages) {
        const std::string role = message["role"].get<std::string>();
        const bool system = messages.empty() && role == "system";
        const size_t spoken = messages.size() - (!messages.empty() && messages.front().role == "system");
        const char* due = spoken % 2 == 0 ? "user" : "assistant";
        require(system || role == due, "message ", messages.size() + 1, " is the ", role, "'s, but the ", due,
                "'s is due: user and assistant take turns, after one system message at most");
        require(message.contains("content") && message["content"].is_string(), "message ", messages.size() + 1,
                " holds more than a text");
        messages.push_back({role, message["content"].get<std::string>()});
    }
    return messages;
}

class ExampleMaker {
  public:
    ExampleMaker(const TextEncoding& encoding, const ExampleOptions& options, const PromptTemplate& prompt_template,
                 const ConversationTemplate& conversation_template)
        : encoding_(encoding),
          options_(options),
          prompt_template_(prompt_template),
          conversation_template_(conversation_template) {}

    Made make(Record& record) const {
        Made made;
        made.example.index = record.index;
        switch (record.kind) {
            case Record::Kind::pair:
                made.fate = from_pair(record, made.example);
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
                made.fate = from_conversation(record, made.example);
                break;
        }
        if (made.fate != Fate::kept) return made;
        const int64_t length = static_cast<int64_t>(made.example.input_ids.size());
        require(options_.max_positions == 0 || length <= options_.max_positions, "the example has ", length,
                " tokens, but the model has ", options_.max_positions, " positions; lower ", program().source_max_len,
                " or ", program().target_max_len, " to drop examples of this length");
        if (count_labelled(made.example) == 0) made.fate = Fate::nothing_labelled;
        made.text = {std::move(record.source), std::move(record.target), {}};
        return made;
    }

  private:
    Fate from_pair(const Record& record, Example& example) const {
        auto [source, target] = prompt_template_ ? prompt_template_(plain_source(record), record.target)
                                                 : std::pair(plain_source(record), record.target);
        const int64_t source_len = lay_end_to_end({{std::move(source), std::move(target)}}, example);
        if (source_len > options_.source_max_len) return Fate::source_too_long;
        if (std::ssize(example.input_ids) - source_len > options_.target_max_len) return Fate::target_too_long;
        return Fate::kept;
    }

    Fate from_conversation(const Record& record, Example& example) const {
        require(conversation_template_ != nullptr, "it holds a conversation, and there is no template for its text");
        lay_end_to_end(conversation_template_(messages_of(record.conversation)), example);
        return whole_too_long(example) ? Fate::too_long : Fate::kept;
    }

    // Returns the number of tokens of the first source.
    int64_t lay_end_to_end(const std::vector<Turn>& turns, Example& example) const {
        std::vector<int32_t>& ids = example.input_ids;
        const auto append = [&](const std::vector<int32_t>& part, bool labelled) {
            ids.insert(ids.end(), part.begin(), part.end());
            example.labels.resize(ids.size(), kIgnoreLabel);
            if (labelled) std::ranges::copy(part, example.labels.end() - std::ssize(part));
        };
        int64_t first_source = 0;
        for (size_t i = 0; i < turns.size(); ++i) {
            std::vector<int32_t> target = encode(turns[i].target);
            if (i + 1 == turns.size()) append_eos(encoding_, target);
            if (i > 0) {
                append(encode_behind(turns[i - 1].target, turns[i].source), options_.train_on_source);
            } else if (!(turns[i].source.empty() && starts_with_bos(encoding_, target))) {
                // Without a source, the target may bring its own BOS.
                append(encode_prompt(encoding_, turns[i].source), options_.train_on_source);
                first_source = std::ssize(ids);
            }
            append(target, true);
        }
        check_ids(ids, options_.vocab_size);
        if (!ids.empty()) example.labels.front() = kIgnoreLabel;
        return first_source;
    }

    // The tokens of `text` as they follow those of `before`, or of `text` alone if the two merge into one token.
    std::vector<int32_t> encode_behind(const std::string& before, const std::string& text) const {
        const std::vector<int32_t> known = encode(before);
        std::vector<int32_t> both = encode(before + text);
        if (both.size() < known.size() || !std::equal(known.begin(), known.end(), both.begin())) return encode(text);
        both.erase(both.begin(), both.begin() + std::ssize(known));
        return both;
    }

    Fate from_text(const Record& record, Example& example) const {
        require(encoding_.encode != nullptr, kNoTokenizer);
        example.input_ids = encode_prompt(encoding_, record.target);
        append_eos(encoding_, example.input_ids);
        check_ids(example.input_ids, options_.vocab_size);
        example.labels = example.input_ids;
        if (!example.labels.empty()) example.labels.front() = kIgnoreLabel;
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
    const PromptTemplate& prompt_template_;
    const ConversationTemplate& conversation_template_;
};

// Encodes a chunk in parallel and appends it in order.
void append_examples(std::vector<Record>& records, const ExampleMaker& maker, bool strict, Dataset& data) {
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
                data.has_conversations |= records[i].kind == Record::Kind::conversation;
                data.examples.push_back(std::move(made[i].example));
                data.texts.push_back(std::move(made[i].text));
                break;
            case Fate::bad:
                require(!strict, records[i].where, ": ", made[i].problem);
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
             "the first position");
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
                      const PromptTemplate& prompt_template, const ConversationTemplate& conversation_template) {
    Dataset data;
    const ExampleMaker maker(encoding, options, prompt_template, conversation_template);
    std::vector<Record> chunk;
    int64_t chunk_bytes = 0;
    const ReaderOptions reader = {options.strict, {.vocab_size = options.vocab_size, .columns = {}}};
    Reading reading = read_records(path, reader, [&](Record&& record) {
        chunk_bytes += record.bytes;
        chunk.push_back(std::move(record));
        if (chunk_bytes < kChunkBytes && chunk.size() < kChunkRecords) return;
        append_examples(chunk, maker, options.strict, data);
        chunk_bytes = 0;
    });
    append_examples(chunk, maker, options.strict, data);
    for (std::string& reason : reading.skipped.reasons) data.skipped.add(std::move(reason));
    data.skipped.count += reading.skipped.count - std::ssize(reading.skipped.reasons);
    data.notes = std::move(reading.notes);
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
    const Split parts = split_indices(all.size(), fraction, seed);
    Dataset train, eval;
    const auto move_to = [&](Dataset& part, const std::vector<int64_t>& indices) {
        for (int64_t i : indices) {
            part.examples.push_back(std::move(all.examples[i]));
            part.texts.push_back(std::move(all.texts[i]));
        }
    };
    move_to(train, parts.train);
    move_to(eval, parts.eval);
    train.has_conversations = eval.has_conversations = all.has_conversations;
    train.dropped = all.dropped;
    train.skipped = std::move(all.skipped);
    return {std::move(train), std::move(eval)};
}

}  // namespace llmc
