// Rows of data formats: the first byte picks the format, the rest is one row, a JSON object.
#include "llmc/data/formats/format.h"
#include "test/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size < 1) return -1;
    const auto formats = llmc::data_formats();
    // One more: by its columns.
    const size_t chosen = data[0] % (formats.size() + 1);
    const std::string name = chosen < formats.size() ? formats[chosen].name : llmc::kFormatOfColumns;
    return fuzz::check(size, [&] {
        const llmc::Json row = llmc::parse_ordered_json(fuzz::text_of(data + 1, size - 1), "the row");
        if (!row.is_object()) return;
        std::vector<llmc::Field> fields;
        for (const auto& [column, value] : row.items()) fields.push_back({column, value});
        const llmc::FormattedRow made = llmc::FormatReader({name, 7}).apply(std::move(fields), 3);
        if (!made.choices.empty() && made.choices.right >= made.choices.options.size()) std::abort();
    });
}
