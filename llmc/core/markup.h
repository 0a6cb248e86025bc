// Text for HTML and SVG.
#pragma once

#include <string>
#include <string_view>

namespace llmc {

// What stands for one of & < > ' ", as Python's markupsafe writes it; nothing: the character itself.
std::string_view markup_escape(char c);

// The text with all of these escaped, for an element's content or a quoted attribute. Control characters other than
// line breaks and tabs become question marks, ill-formed UTF-8 becomes U+FFFD.
std::string escape_markup(std::string text);

}  // namespace llmc
