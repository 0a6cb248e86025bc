// Data files, record by record: .jsonl or .ndjson, .json (an array of objects), .csv and .tsv (RFC 4180, with a header
// row); each may be packed by gzip (.gz). "-" is standard input, which holds JSON.
//
// Files are streamed one record at a time, so a file may be larger than memory. JSON whose first character is [ is an
// array, other JSON comes in lines, whichever of both the name says. Text is UTF-8, with or without a byte order mark;
// lines end in LF or CRLF; empty lines are skipped.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "llmc/data/formats/format.h"
#include "llmc/data/record.h"

namespace llmc {

struct ReaderOptions {
    // On: a record that cannot be used ends the reading with an Error. Off: it is left out, counted and listed. Damage
    // that hides where the next record begins (a syntax error in a .json file, an open quote in a .csv file) is always
    // an Error.
    bool strict = true;
    RecordOptions records = {};
    FormatOptions format = {.name = kNoFormat};
};

// Records left out because strict is off, and why.
struct SkippedRecords {
    static constexpr size_t kMostListed = 20;
    int64_t count = 0;
    std::vector<std::string> reasons;  // of the first kMostListed, each beginning with its file and line

    void add(std::string reason);
};

struct Reading {
    SkippedRecords skipped;
    ReadingNotes notes;
    const DataFormat* format = nullptr;  // null: rows are read as record.h says
};

// Throws Error for a file that cannot be opened or whose name tells no format: before others are read at length.
void check_readable(const std::string& path);

// Calls `take` with every record in the order of the file. Throws Error if there is none.
Reading read_records(const std::string& path, const ReaderOptions& options, const std::function<void(Record&&)>& take);

}  // namespace llmc
