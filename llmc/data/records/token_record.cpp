// Rows of token ids: which of them are there (attention_mask), which carry a loss (labels and masks), and where one
// sequence ends and the next begins (seq_lengths, position_ids).
#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>

#include "llmc/core/error.h"
#include "llmc/data/batch.h"
#include "llmc/data/records/kinds.h"

namespace llmc {
namespace {

using Integers = std::vector<int64_t>;

// A list as a CSV cell holds it, "[1, 2, 3]"; numpy writes it without the commas.
Integers parse_integers(std::string_view name, std::string_view cell) {
    constexpr std::string_view kSpace = " \t\r\n";
    const auto skip_space = [&] { cell.remove_prefix(std::min(cell.find_first_not_of(kSpace), cell.size())); };
    const auto check = [&](bool ok) {
        if (ok) return;
        fail("the field ", in_quotes(name), " must be a list of integers such as [1, 2, 3], but goes on with ",
             cell.empty() ? "nothing" : in_quotes(cell));
    };
    Integers integers;
    skip_space();
    check(cell.starts_with('['));
    cell.remove_prefix(1);
    for (skip_space(); !cell.starts_with(']'); skip_space()) {
        int64_t integer = 0;
        const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), integer);
        const size_t length = end - cell.data();
        // What follows must end the number: 2.5 is not 2.
        check(error == std::errc() && length < cell.size() &&
              (kSpace.find(cell[length]) != kSpace.npos || cell[length] == ',' || cell[length] == ']'));
        integers.push_back(integer);
        cell.remove_prefix(length);
        skip_space();
        if (!cell.starts_with(',')) continue;
        cell.remove_prefix(1);
        skip_space();
        check(!cell.starts_with(']'));
    }
    cell.remove_prefix(1);
    skip_space();
    check(cell.empty());
    return integers;
}

// The column as a list of integers, true and false being 1 and 0; nothing if it is absent.
std::optional<Integers> take_integers(Columns& columns, std::string_view name) {
    const Json* value = columns.take(name);
    if (!value || *value == "") return std::nullopt;
    if (value->is_string()) return parse_integers(name, value->get_ref<const std::string&>());
    const auto fits = [](const Json& x) { return is_integer(x) || x.is_boolean(); };
    require(value->is_array() && std::ranges::all_of(*value, fits), "the field ", in_quotes(name), " is ",
            kind_of(*value), ", but must be a list of integers");
    Integers integers(value->size());
    std::ranges::transform(*value, integers.begin(),
                           [](const Json& x) { return x.is_boolean() ? int64_t{x.get<bool>()} : x.get<int64_t>(); });
    return integers;
}

// The same for a column with an entry for each token.
std::optional<Integers> take_for_each(Columns& columns, const std::string& name, size_t n_ids, const char* advice) {
    std::optional<Integers> values = take_integers(columns, name);
    if (values && values->size() != n_ids)
        fail("\"input_ids\" has ", n_ids, " entries, but ", in_quotes(name), " has ", values->size(), "; ", advice);
    return values;
}

std::optional<Integers> take_mask(Columns& columns, const std::string& name, size_t n_ids) {
    std::optional<Integers> mask = take_for_each(columns, name, n_ids, "give each id a 0 or a 1");
    if (!mask) return mask;
    const auto other = std::ranges::find_if(*mask, [](int64_t x) { return x != 0 && x != 1; });
    if (other != mask->end())
        fail("the field ", in_quotes(name), " has ", *other, " at position ", other - mask->begin(),
             ", but may hold 0 and 1 only");
    return mask;
}

// Checks the range of every id; -100 is allowed among labels only.
std::vector<int32_t> to_tokens(const char* name, const Integers& ids, int64_t vocab_size, bool labels) {
    const int64_t limit = vocab_size > 0 ? vocab_size : int64_t{std::numeric_limits<int32_t>::max()} + 1;
    std::vector<int32_t> tokens(ids.size());
    for (size_t i = 0; i < ids.size(); ++i) {
        if ((ids[i] < 0 || ids[i] >= limit) && !(labels && ids[i] == kIgnoreLabel))
            fail("the field ", in_quotes(name), " has ", ids[i], " at position ", i, ", but token ids go from 0 to ",
                 limit - 1, labels ? " (-100: no loss)" : "",
                 ids[i] < 0 ? "" : "; was it tokenised for another model?");
        tokens[i] = static_cast<int32_t>(ids[i]);
    }
    return tokens;
}

// Tokens first .. end - 1 of a row.
struct Range {
    int64_t first = 0, end = 0;
    bool operator==(const Range&) const = default;
};

// What padding leaves of the row: all ones of the mask, which must stand together.
Range without_padding(Columns& columns, int64_t n_ids) {
    const auto mask = take_mask(columns, "attention_mask", n_ids);
    if (!mask) return {0, n_ids};
    const auto first = std::ranges::find(*mask, 1);
    const auto end = std::find(first, mask->end(), 0);
    require(
        std::find(end, mask->end(), 1) == mask->end(),
        "the field \"attention_mask\" has zeros between ones, so tokens inside would not be seen; padding may stand "
        "at the ends only");
    return {first - mask->begin(), end - mask->begin()};
}

// The sequences that seq_lengths tells; nothing if it is absent.
std::optional<std::vector<Range>> sequences_by_length(Columns& columns, const Range& row, int64_t n_ids) {
    const auto lengths = take_integers(columns, "seq_lengths");
    if (!lengths) return std::nullopt;
    std::vector<Range> ranges;
    int64_t at = 0;
    for (const int64_t length : *lengths) {
        require(length > 0 && length <= n_ids - at,
                "the lengths of \"seq_lengths\" must be positive, and their sum the ", n_ids,
                " entries of \"input_ids\"");
        ranges.push_back({at, at + length});
        at += length;
    }
    require(at == n_ids, "the lengths of \"seq_lengths\" add up to ", at, ", but \"input_ids\" has ", n_ids,
            " entries");
    require(row == Range{0, n_ids},
            "the row has \"seq_lengths\" and padding in \"attention_mask\"; leave the padding "
            "out");
    return ranges;
}

// The sequences that position_ids tells, each from position 0; nothing if it is absent.
std::optional<std::vector<Range>> sequences_by_position(Columns& columns, const Range& row, int64_t n_ids) {
    const auto positions = take_for_each(columns, "position_ids", n_ids, "give each id its position");
    if (!positions) return std::nullopt;
    std::vector<Range> ranges;
    for (int64_t i = row.first; i < row.end; ++i) {
        if ((*positions)[i] == 0) {
            ranges.push_back({i, i + 1});
            continue;
        }
        require(!ranges.empty() && (*positions)[i] == i - ranges.back().first, "the field \"position_ids\" has ",
                (*positions)[i], " at position ", i,
                "; positions must count 0, 1, 2, .., and begin at 0 again where another sequence begins");
        ranges.back().end = i + 1;
    }
    return ranges;
}

std::vector<Range> sequences(Columns& columns, int64_t n_ids) {
    const Range row = without_padding(columns, n_ids);
    const auto by_length = sequences_by_length(columns, row, n_ids);
    const auto by_position = sequences_by_position(columns, row, n_ids);
    const bool counts_on = by_position && by_position->size() == 1;  // as many write it for a packed row, too
    require(!by_length || !by_position || counts_on || *by_length == *by_position,
            "the fields \"seq_lengths\" and \"position_ids\" tell different sequences");
    std::vector<Range> found = by_length ? *by_length : by_position ? *by_position : std::vector<Range>{};
    if (found.empty()) found.push_back(row);  // a row without a token is counted, too
    return found;
}

// One of the masks that say which tokens carry a loss takes it from the others.
void apply_loss_masks(Columns& columns, std::vector<int32_t>& labels) {
    for (const char* name : {"completion_mask", "assistant_masks", "loss_mask"}) {
        const auto mask = take_mask(columns, name, labels.size());
        for (size_t i = 0; mask && i < labels.size(); ++i)
            if ((*mask)[i] == 0) labels[i] = kIgnoreLabel;
    }
}

}  // namespace

std::vector<Record> token_records(Columns& columns, int64_t vocab_size) {
    const Integers ids = *take_integers(columns, "input_ids");
    const std::vector<int32_t> input_ids = to_tokens("input_ids", ids, vocab_size, false);
    const auto given = take_for_each(columns, "labels", ids.size(), "give each id a label, -100 where it has no loss");
    std::vector<int32_t> labels = given ? to_tokens("labels", *given, vocab_size, true) : input_ids;
    apply_loss_masks(columns, labels);
    std::vector<Record> records;
    for (const auto& [first, end] : sequences(columns, std::ssize(ids))) {
        Record& record = records.emplace_back();
        record.kind = Record::Kind::tokens;
        record.input_ids.assign(input_ids.begin() + first, input_ids.begin() + end);
        record.labels.assign(labels.begin() + first, labels.begin() + end);
    }
    return records;
}

}  // namespace llmc
