#include "llmc/jinja/filters/filters.h"

#include "llmc/jinja/library/arguments.h"

namespace llmc::jinja {

const Filter* find_filter(std::string_view name) {
    for (const auto find : {find_text_filter, find_markup_filter, find_number_filter, find_sequence_filter,
                            find_generator_filter, find_value_filter})
        if (const Filter* filter = find(name)) return filter;
    return nullptr;
}

Value apply_filter(Runtime& runtime, const Filter& filter, const Value& value, const Arguments& arguments) {
    if (!filter.body) refuse_left_out(runtime, "filter", filter.name);
    count_call(runtime, value, arguments);
    return filter.body(runtime, value, arguments);
}

}  // namespace llmc::jinja
