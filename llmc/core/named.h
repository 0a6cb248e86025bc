// Values that have a name in files and on the command line: one constexpr table says both.
//
//   constexpr Named<Colour> kColours[] = {{"red", Colour::red}, {"green", Colour::green}};
//   name_in(kColours, Colour::red)        "red"
//   value_in(kColours, "green")           Colour::green; nothing for a name that is not there
//   names_in(kColours)                    "red and green"
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace llmc {

template <class Value>
struct Named {
    const char* name;
    Value value;
};

template <class Value, size_t N>
constexpr const char* name_in(const Named<Value> (&table)[N], Value value) {
    for (const Named<Value>& entry : table)
        if (entry.value == value) return entry.name;
    return "?";
}

template <class Value, size_t N>
constexpr std::optional<Value> value_in(const Named<Value> (&table)[N], std::string_view name) {
    for (const Named<Value>& entry : table)
        if (entry.name == name) return entry.value;
    return std::nullopt;
}

template <class Value, size_t N>
std::string names_in(const Named<Value> (&table)[N]) {
    std::string names;
    for (size_t i = 0; i < N; i++) {
        if (i > 0) names += i + 1 < N ? ", " : " and ";
        names += table[i].name;
    }
    return names;
}

}  // namespace llmc
