#include "llmc/jinja/filters/filters.h"

namespace llmc::jinja {

const Filter* find_filter(std::string_view name) {
    for (const auto find : {find_text_filter, find_markup_filter, find_number_filter, find_sequence_filter,
                            find_generator_filter, find_value_filter})
        if (const Filter* filter = find(name)) return filter;
    return nullptr;
}

}  // namespace llmc::jinja
