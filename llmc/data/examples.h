// Records to examples: token ids, and which of them the loss counts.
//
//   tokens         ids and labels as the file has them
//   text           ids = [BOS] encode(text) EOS; loss on all but BOS. A long one comes in pieces, where its data format
//                  says that pieces are of use (pieces.h)
//   conversation   as llmc/chat lays it out; with train_on_source the loss is on all of it
//   pair           with a chat template, the conversation of a user and an assistant; else
//                  ids = [BOS] encode(source) encode(target) EOS
//                  loss on the target and EOS; with train_on_source on the source, too
//
// Source and target are encoded separately, so that a token ends where the source does (QLoRA, Dettmers et al. 2023,
// does the same). BOS is added if the tokenizer adds one and the text does not start with it; EOS is added unless the
// text ends in it. The first token of a sequence is predicted by nothing and has no loss.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "llmc/chat/chat_encoder.h"
#include "llmc/data/batch.h"
#include "llmc/data/choices.h"
#include "llmc/data/reader.h"

namespace llmc {

// What examples need of a tokenizer. `encode` adds no special tokens and is called from several threads at once;
// without it only records of tokens can be read.
struct TextEncoding {
    std::function<std::vector<int32_t>(std::string_view)> encode;
    int32_t bos_id = -1;  // -1: there is none
    int32_t eos_id = -1;
    bool adds_bos = false;
    std::function<bool(int32_t id)> is_special = nullptr;  // null: nothing is
};

// What a conversation becomes, or a pair as one. Throws Error for one that cannot be laid out. Called from several
// threads at once.
using ConversationEncoder = std::function<EncodedConversation(const Conversation& conversation)>;

struct ExampleOptions {
    int64_t source_max_len = 512;  // tokens of a pair before its answer; longer examples are dropped
    int64_t target_max_len = 512;  // tokens of the answer and its end. The sum of both bounds all other examples
    bool train_on_source = false;
    int64_t vocab_size = 0;           // every id must be below; 0: unknown
    int64_t max_positions = 0;        // no example may be longer; 0: unknown
    bool strict = true;               // as in ReaderOptions
    bool keep_texts = true;           // Dataset::texts
    std::vector<ColumnName> columns;  // as in RecordOptions
    FormatOptions format = {.name = kNoFormat};
    std::string no_template;  // why conversations cannot be encoded, and what to do about it
};

// Valid examples that are not used, by reason.
struct Dropped {
    int64_t source_too_long = 0, target_too_long = 0, too_long = 0;
    int64_t nothing_labelled = 0;

    int64_t total() const { return source_too_long + target_too_long + too_long + nothing_labelled; }
    std::string describe() const;  // "3 with a source of more than ..." or "none"
};

// What a person may want to know of how the examples came about: numbers of examples, unless said otherwise.
struct LayoutCounts {
    int64_t pairs = 0, conversations = 0;    // laid out by the chat template
    int64_t plain = 0;                       // pairs without one
    int64_t empty_answers = 0;               // answers
    int64_t only_special = 0;                // nothing but special tokens
    std::map<std::string, int64_t> unheard;  // fields that the template never writes

    void add(const LayoutCounts& other);
};

// Source and target as the file has them, before any template. Records of text have no source; records of tokens or of
// several turns have neither.
struct SourceTarget {
    std::string source, target;
    Choices choices;
    bool continues = false;  // the example is a piece of the text of the one before it
};

struct Dataset {
    std::vector<Example> examples;    // in the order of the file
    std::vector<SourceTarget> texts;  // of each example; none if they are not kept
    std::vector<std::string> files;   // that the examples come from
    Dropped dropped;
    SkippedRecords skipped;
    ReadingNotes notes;
    LayoutCounts layout;
    const DataFormat* format = nullptr;  // null: plain columns, or files of several formats

    int64_t size() const { return static_cast<int64_t>(examples.size()); }
    int64_t n_tokens() const;
    int64_t n_labelled() const;

    // Where the example at this position comes from: "train.jsonl: example 12".
    std::string place(int64_t position) const;
    // Adds the examples of other files behind these, and what was counted. The notes are each file's own.
    void append(Dataset&& other);
};

// Throws Error if no example is left. Without an encoder of conversations there are none, and pairs are plain texts.
Dataset read_examples(const std::string& path, const TextEncoding& encoding, const ExampleOptions& options,
                      const ConversationEncoder& encode_conversation = nullptr);

// [BOS] encode(source): what generation continues, and how an example of this source starts.
std::vector<int32_t> encode_prompt(const TextEncoding& encoding, std::string_view source);

// Tokens of the example that the loss counts.
int64_t count_labelled(const Example& example);

// Two disjoint sets, each ascending, that are 0 .. n-1 together; determined by n, fraction and seed.
struct Split {
    std::vector<int64_t> train, eval;
};
// round(n * fraction) go to eval, at least one to each if n >= 2; fraction 0: none to eval. 0 <= fraction < 1.
Split split_indices(int64_t n, double fraction, uint64_t seed);
// `count` of 0 .. n-1 (all when there are fewer), ascending.
std::vector<int64_t> sample_indices(int64_t n, int64_t count, uint64_t seed);

// The train and eval parts of a data set, which is consumed; pieces of one text stay together. The counts of dropped
// examples stay with the first.
std::pair<Dataset, Dataset> split(Dataset all, double fraction, uint64_t seed);

}  // namespace llmc
