#include "llmc/jinja/values/value.h"

#include "llmc/jinja/values/dict.h"
#include "llmc/jinja/values/iterate.h"
#include "llmc/jinja/values/runtime.h"

namespace llmc::jinja {

Integer Range::size() const {
    if (step > 0) return start < stop ? (stop - start - 1) / step + 1 : 0;
    return start > stop ? (start - stop - 1) / -step + 1 : 0;
}

std::string_view type_name(Kind kind) {
    switch (kind) {
        case Kind::missing:
        case Kind::undefined:
            return "Undefined";
        case Kind::none:
            return "None";
        case Kind::boolean:
            return "bool";
        case Kind::integer:
            return "int";
        case Kind::floating:
            return "float";
        case Kind::string:
            return "str";
        case Kind::list:
            return "list";
        case Kind::tuple:
            return "tuple";
        case Kind::dict:
            return "dict";
        case Kind::view:
            return "dict view";
        case Kind::range:
            return "range";
        case Kind::iterator:
            return "generator";
        case Kind::name_space:
            return "Namespace";
        case Kind::object:
            return "function";
    }
    return "value";
}

std::string_view type_name(const Value& value) {
    return value.is(Kind::object) ? value.as_object().type_name() : type_name(value.kind());
}

bool is_true(const Value& value) {
    switch (value.kind()) {
        case Kind::missing:
        case Kind::undefined:
        case Kind::none:
            return false;
        case Kind::boolean:
        case Kind::integer:
            return value.as_integer() != 0;
        case Kind::floating:
            return value.as_floating() != 0;
        case Kind::string:
            return !value.as_text().empty();
        case Kind::list:
        case Kind::tuple:
            return !value.as_items().empty();
        case Kind::dict:
            return value.as_dict().size() != 0;
        case Kind::view:
            return value.as_view().dict->size() != 0;
        case Kind::range:
            return value.as_range().size() != 0;
        case Kind::iterator:
        case Kind::name_space:
        case Kind::object:
            return true;
    }
    return false;
}

}  // namespace llmc::jinja
