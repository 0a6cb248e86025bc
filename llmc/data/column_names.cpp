#include "llmc/data/column_names.h"

#include <algorithm>

#include "llmc/core/error.h"
#include "llmc/core/words.h"

namespace llmc {
namespace {

ColumnName parse_one(const std::string& part) {
    const size_t equals = part.find('=');
    const ColumnName name = {std::string(trim(std::string_view(part).substr(0, equals))),
                             std::string(trim(equals == part.npos ? "" : std::string_view(part).substr(equals + 1)))};
    require(!name.ours.empty() && !name.theirs.empty(), "\"", part,
            "\" is no pair of names; write input=question,output=reply");
    const std::vector<std::string> known = known_columns();
    if (std::ranges::binary_search(known, name.ours)) return name;
    require(!std::ranges::binary_search(known, name.theirs), "there is no column ", name.ours,
            " to be read; the file's own name comes last: ", name.theirs, "=", name.ours);
    fail("there is no column ", name.ours, " to be read; there are ", join(known));
}

}  // namespace

std::vector<std::string> known_columns() {
    return {"answer",       "assistant_masks", "attention_mask", "chat_template_kwargs",
            "completion",   "completion_mask", "context",        "conversations",
            "history",      "input",           "input_ids",      "instruction",
            "labels",       "loss_mask",       "messages",       "output",
            "position_ids", "prompt",          "question",       "seq_lengths",
            "system",       "system_prompt",   "text",           "tools",
            "weights"};
}

std::vector<ColumnName> parse_column_names(const std::string& text) {
    std::vector<ColumnName> names;
    for (size_t begin = 0; begin < text.size();) {
        const size_t comma = std::min(text.find(',', begin), text.size());
        const ColumnName name = parse_one(text.substr(begin, comma - begin));
        begin = comma + 1;
        for (const ColumnName& earlier : names)
            require(earlier.ours != name.ours && earlier.theirs != name.theirs, "the names ", name.ours, "=",
                    name.theirs, " and ", earlier.ours, "=", earlier.theirs, " contradict each other");
        names.push_back(name);
    }
    return names;
}

}  // namespace llmc
