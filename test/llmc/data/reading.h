// What the tests of reader.h and record.h share: records of a file's content, or the error that reading it ends in.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "llmc/data/reader.h"
#include "test/catch.h"
#include "test/llmc/data/temp_file.h"

namespace test {

inline std::vector<llmc::Record> records_of(const std::string& name, const std::string& content,
                                            llmc::ReaderOptions options = {}) {
    const TempFile file(name, content);
    std::vector<llmc::Record> records;
    llmc::read_records(file.path(), options, [&](llmc::Record&& record) { records.push_back(std::move(record)); });
    return records;
}

// The message of the Error that ends the reading, without the folder's name; "" if there is none.
inline std::string error_of(const std::string& name, const std::string& content, llmc::ReaderOptions options = {}) {
    const TempFile file(name, content);
    return error_of(file.directory(), [&] { llmc::read_records(file.path(), options, [](llmc::Record&&) {}); });
}

inline void expect_start(const std::string& text, const std::string& start) {
    CHECK(text.substr(0, start.size()) == start);
}

inline void expect_within(const std::string& text, const std::string& part) {
    INFO(text);
    CHECK(text.find(part) != text.npos);
}

inline void check_pair(const llmc::Record& record, const std::string& source, const std::string& target) {
    CHECK(record.kind == llmc::Record::Kind::pair);
    CHECK(record.source == source);
    CHECK(record.target == target);
}

}  // namespace test
