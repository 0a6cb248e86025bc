#include "llmc/data/reader.h"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "llmc/core/error.h"
#include "llmc/data/rows/row_reader.h"

namespace llmc {
namespace {

std::string lower_extension(const std::string& path) {
    std::string extension = std::filesystem::path(path).extension().string();
    std::transform(extension.begin(), extension.end(), extension.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return extension;
}

// The file, past its byte order mark.
std::ifstream open(const std::string& path) {
    std::error_code ignored;
    require(!std::filesystem::is_directory(path, ignored), path, " is a directory; name a file in it");
    std::ifstream in(path, std::ios::binary);
    require(in.is_open(), "cannot open ", path, ": ", std::strerror(errno));
    char start[3] = {};
    in.read(start, sizeof start);
    const std::string_view mark(start, in.gcount());
    require(!mark.starts_with("\xFF\xFE") && !mark.starts_with("\xFE\xFF"), path,
            " is UTF-16, but must be UTF-8; convert it with: iconv -f UTF-16 -t UTF-8");
    in.clear();
    in.seekg(mark == "\xEF\xBB\xBF" ? 3 : 0);
    return in;
}

void read_rows(std::ifstream& in, const std::string& extension, const RowSink& sink) {
    if (extension == ".csv" || extension == ".tsv") return read_delimited(in, extension == ".csv" ? ',' : '\t', sink);
    const auto start = in.tellg();
    const bool array = extension == ".json" && (in >> std::ws).peek() == '[';
    in.clear();
    in.seekg(start);
    array ? read_json_array(in, sink) : read_json_lines(in, sink);
}

}  // namespace

void SkippedRecords::add(std::string reason) {
    ++count;
    if (reasons.size() < kMostListed) reasons.push_back(std::move(reason));
}

Reading read_records(const std::string& path, const ReaderOptions& options, const std::function<void(Record&&)>& take) {
    std::ifstream in = open(path);
    const std::string extension = lower_extension(path);
    require(extension == ".jsonl" || extension == ".json" || extension == ".csv" || extension == ".tsv", path,
            ": the name must end in .jsonl, .json, .csv or .tsv, so that its format is known");

    Reading reading;
    int64_t n_rows = 0, n_taken = 0;
    const auto bad = [&](const std::string& where, const std::string& problem) {
        ++n_rows;
        require(!options.strict, where, ": ", problem);
        reading.skipped.add(where + ": " + problem);
    };
    const auto row = [&](Row&& row) {
        std::vector<Record> records;
        try {
            records = to_records(std::move(row.fields), options.records, reading.notes);
        } catch (const Error& error) {
            return bad(row.where, error.what());
        }
        for (Record& record : records) {
            record.index = n_rows;
            record.bytes = row.bytes / std::ssize(records);
            record.where = row.where;
            take(std::move(record));
        }
        ++n_rows;
        ++n_taken;
    };
    try {
        read_rows(in, extension, {path, row, bad});
    } catch (const std::ios_base::failure& failure) {
        fail("cannot read ", path, ": ", failure.what());
    }
    require(!in.bad(), "cannot read ", path);
    require(n_rows > 0, path, " holds no records; it must have at least one example");
    require(n_taken > 0, path,
            n_rows == 1 ? ": its one record cannot be used: "
                        : concat(": none of its ", n_rows, " records can be used; the first: "),
            reading.skipped.count > 0 ? reading.skipped.reasons.front() : "");
    return reading;
}

}  // namespace llmc
