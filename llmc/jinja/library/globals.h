// The functions that every template sees: range, dict, namespace, raise_exception, strftime_now.
#pragma once

#include <string_view>

#include "llmc/jinja/values/runtime.h"

namespace llmc::jinja {

// false: there is none of that name.
bool find_global(Runtime& runtime, std::string_view name, Value& found);

// datetime.strftime() of the date that the options fix, else of the clock's local time.
Value strftime_now(Runtime& runtime, const Arguments& arguments);

}  // namespace llmc::jinja
