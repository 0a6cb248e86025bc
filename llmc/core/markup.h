// Text for HTML and SVG.
#pragma once

#include <string>

namespace llmc {

// The text with &, <, > and both quotes escaped, for an element's content or a quoted attribute. Control characters
// other than line breaks and tabs become question marks, ill-formed UTF-8 becomes U+FFFD.
std::string escape_markup(std::string text);

}  // namespace llmc
