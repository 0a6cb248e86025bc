// The number that a text gives as its answer.
//
// GSM8K's answers end in "#### 72". So the number is the first one behind #### in the same line, or else the last one
// of the text.
//
// A number is a run of digits, grouped by commas in threes or not at all, with or without decimals: 1,234.50  .5  007.
// A minus sign belongs to it if it stands directly before it, or before its currency sign, and not directly behind a
// letter, a digit or a bracket that closes: 10-5 ends in 5. Currency signs and units around it do not matter, nor does
// a full stop behind it.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace llmc {

// The number in its shortest form: "-1234.5". Equal numbers have equal texts, however long they are. Nothing if the
// text holds no number.
std::optional<std::string> answer_number(std::string_view text);

}  // namespace llmc
