// Data sets as a whole: where their examples come from, and several as one.
#include <iterator>

#include "llmc/core/error.h"
#include "llmc/data/examples.h"

namespace llmc {

std::string Dataset::place(int64_t position) const {
    const Example& example = examples.at(static_cast<size_t>(position));
    return concat(files.at(static_cast<size_t>(example.file)), ": example ", example.index + 1);
}

void Dataset::append(Dataset&& other) {
    for (Example& example : other.examples) example.file += static_cast<int32_t>(files.size());
    std::ranges::move(other.files, std::back_inserter(files));
    std::ranges::move(other.examples, std::back_inserter(examples));
    std::ranges::move(other.texts, std::back_inserter(texts));
    dropped.source_too_long += other.dropped.source_too_long;
    dropped.target_too_long += other.dropped.target_too_long;
    dropped.too_long += other.dropped.too_long;
    dropped.nothing_labelled += other.dropped.nothing_labelled;
    const int64_t listed = std::ssize(other.skipped.reasons);
    for (std::string& reason : other.skipped.reasons) skipped.add(std::move(reason));
    skipped.count += other.skipped.count - listed;
    layout.add(other.layout);
}

}  // namespace llmc
