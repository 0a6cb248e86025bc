// Tables of named things, in the order of their names.
#pragma once

#include <cstddef>
#include <string_view>

namespace llmc::jinja {

// The entry of a table that is sorted by name, or nullptr.
template <class Table>
const typename Table::value_type* find_by_name(const Table& table, std::string_view name) {
    size_t first = 0, last = table.size();
    while (first < last) {
        const size_t middle = (first + last) / 2;
        if (table[middle].name < name)
            first = middle + 1;
        else
            last = middle;
    }
    return first < table.size() && table[first].name == name ? &table[first] : nullptr;
}

// For a static_assert beside such a table.
template <class Table>
constexpr bool is_sorted_by_name(const Table& table) {
    for (size_t i = 1; i < table.size(); ++i)
        if (!(table[i - 1].name < table[i].name)) return false;
    return true;
}

}  // namespace llmc::jinja
