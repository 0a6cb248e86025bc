#include <algorithm>
#include <array>

#include "llmc/jinja/methods/methods.h"
#include "llmc/jinja/operators/operators.h"
#include "llmc/jinja/operators/print.h"
#include "llmc/jinja/text/text.h"
#include "llmc/jinja/values/dict.h"
#include "llmc/jinja/values/iterate.h"

namespace llmc::jinja {
namespace {

// Attributes that every Python object has. The sandbox shows none of them.
bool every_object_has(std::string_view name) {
    constexpr std::array<std::string_view, 24> kNames{
        "__class__",   "__delattr__", "__dir__",           "__doc__",         "__eq__",
        "__format__",  "__ge__",      "__getattribute__",  "__getstate__",    "__gt__",
        "__hash__",    "__init__",    "__init_subclass__", "__le__",          "__lt__",
        "__ne__",      "__new__",     "__reduce__",        "__reduce_ex__",   "__repr__",
        "__setattr__", "__sizeof__",  "__str__",           "__subclasshook__"};
    return name.starts_with("__") && std::ranges::find(kNames, name) != kNames.end();
}

// Attributes that containers and strings have beside those.
bool containers_have(std::string_view name) {
    constexpr std::array<std::string_view, 8> kNames{"__add__", "__contains__", "__getitem__", "__iter__",
                                                     "__len__", "__mul__",      "__rmul__",    "__setitem__"};
    return name.starts_with("__") && std::ranges::find(kNames, name) != kNames.end();
}

bool is_unsafe(const Value& object, std::string_view name) {
    return every_object_has(name) || changes(object.kind(), name) ||
           ((object.is_string() || object.is_sequence() || object.is(Kind::dict)) && containers_have(name));
}

bool find_own(Runtime& runtime, const Value& object, std::string_view name, Value& found) {
    switch (object.kind()) {
        case Kind::object:
            return object.as_object().attribute(runtime, name, found);
        case Kind::name_space: {
            const Value* value = object.as_name_space().attributes().find(runtime, name);
            if (value) found = *value;
            return value != nullptr;
        }
        case Kind::range:
            if (name == "start") found = Value::integer(object.as_range().start);
            if (name == "stop") found = Value::integer(object.as_range().stop);
            if (name == "step") found = Value::integer(object.as_range().step);
            return name == "start" || name == "stop" || name == "step";
        case Kind::tuple:
            if (!object.is_group() || (name != "grouper" && name != "list")) return false;
            found = object.as_items()[name == "grouper" ? 0 : 1];
            return true;
        default:
            return false;
    }
}

Value lacks_attribute(const Value& object, std::string_view name) {
    return Value::undefined(Undefinedness::attribute, name, object.kind());
}

Value lacks_element(Runtime& runtime, const Value& object, const Value& index) {
    if (index.is_string()) return lacks_attribute(object, index.as_text());
    const bool short_print = index.is_number() || index.is(Kind::none);
    return Value::undefined(Undefinedness::element,
                            short_print ? runtime.keep(to_string(runtime, index)) : type_name(index), object.kind());
}

// Whether `object` has the item; nothing else of Python's errors is of interest.
bool find_item(Runtime& runtime, const Value& object, const Value& index, Value& found) {
    if (object.is(Kind::dict)) {
        if (!is_hashable(runtime, index)) return false;
        const Value* value = object.as_dict().find(runtime, index);
        if (value) found = *value;
        return value != nullptr;
    }
    if (!index.is_integral() || !(object.is_string() || object.is_sequence() || object.is(Kind::range))) return false;
    Integer size = 0;
    find_length(runtime, object, size);
    const Integer at = index.as_integer() < 0 ? index.as_integer() + size : index.as_integer();
    if (at < 0 || at >= size) return false;
    found = item_at(runtime, object, static_cast<size_t>(at));
    return true;
}

// start, stop and step as Python's slice.indices() gives them.
Range bounds(Runtime& runtime, const Value& start, const Value& stop, const Value& step, Integer size) {
    const auto part = [&](const Value& value, Integer otherwise) {
        if (value.is(Kind::none)) return otherwise;
        if (value.is(Kind::undefined)) raise_undefined(runtime, value);
        if (!value.is_integral()) refuse(runtime, "a slice needs int or none, not a ", type_name(value));
        return value.as_integer();
    };
    const Integer by = part(step, 1);
    if (by == 0) refuse(runtime, "the step of a slice is zero");
    const Integer lowest = by < 0 ? -1 : 0, highest = by < 0 ? size - 1 : size;
    const auto place = [&](const Value& value, Integer otherwise) {
        if (value.is(Kind::none)) return otherwise;
        const Integer at = part(value, 0);
        return std::clamp(at < 0 ? std::max<Integer>(at, -size - 1) + size : at, lowest, highest);
    };
    return {place(start, by < 0 ? highest : lowest), place(stop, by < 0 ? lowest : highest),
            std::clamp<Integer>(by, -size - 1, size + 1)};
}

// The byte of the character that stands `step` characters behind the one at `at`, or before it.
size_t moved(std::string_view text, size_t at, Integer step) {
    for (; step > 0; --step) at += text::first_character(text.substr(at)).bytes;
    for (; step < 0; ++step) at -= text::last_character_bytes(text.substr(0, at));
    return at;
}

Value slice_of_string(Runtime& runtime, const Value& string, const Range& range) {
    const std::string_view whole = string.as_text();
    runtime.work(whole.size());
    if (range.step == 1)
        return Value::string(
            text::cut(whole, static_cast<size_t>(range.start), static_cast<size_t>(std::max(range.start, range.stop))),
            string.is_safe());
    // From one character to the next that is wanted, `step` characters on.
    std::string cut;
    cut.reserve(std::min(whole.size(), 4 * static_cast<size_t>(range.size())));
    size_t at = text::byte_of(whole, static_cast<size_t>(std::max<Integer>(range.start, 0)));
    for (Integer left = range.size(); left > 0; --left) {
        cut += whole.substr(at, text::first_character(whole.substr(at)).bytes);
        if (left > 1) at = moved(whole, at, range.step);
    }
    return runtime.string(cut, string.is_safe());
}

Value slice_of_items(Runtime& runtime, const Value& sequence, const Range& range) {
    const auto items = sequence.as_items();
    const auto size = static_cast<size_t>(range.size());
    std::span<const Value> cut;
    if (range.step == 1) {
        cut = items.subspan(size == 0 ? 0 : static_cast<size_t>(range.start), size);
    } else {
        auto* chosen = runtime.array<Value>(size);
        for (size_t i = 0; i < size; ++i) chosen[i] = items[static_cast<size_t>(range.at(static_cast<Integer>(i)))];
        cut = {chosen, size};
        runtime.work(cut.size_bytes());
    }
    return sequence.is(Kind::list) ? Value::list(cut) : Value::tuple(cut);
}

// The step of a range with one item can double with each slice: it then makes no difference, and becomes 1.
Range slice_of_range(const Range& whole, const Range& range) {
    constexpr Integer kMostStep = Integer{1} << 64;
    const Range cut{whole.at(range.start), whole.at(range.stop), whole.step * range.step};
    if (-kMostStep <= cut.step && cut.step <= kMostStep) return cut;
    return {cut.start, cut.start + cut.size(), 1};
}

// What the error of an undefined value says.
std::string describe_undefined(const Value& undefined) {
    const std::string_view text = undefined.as_text();
    const std::string_view owner = type_name(undefined.owner());
    switch (undefined.reason()) {
        case Undefinedness::variable:
            return concat("'", text, "' is undefined");
        case Undefinedness::attribute:
            return concat("the ", owner, " has no attribute '", text, "'");
        case Undefinedness::element:
            return concat("the ", owner, " has no element ", text);
        case Undefinedness::unsafe:
            return concat("the attribute '", text, "' of a ", owner, " is kept from templates");
        case Undefinedness::hint:
            return std::string(text);
    }
    return {};
}

}  // namespace

bool find_attribute(Runtime& runtime, const Value& object, std::string_view name, Value& found) {
    if (find_own(runtime, object, name, found)) {
        if (name.starts_with('_')) found = Value::undefined(Undefinedness::unsafe, name, object.kind());
        return true;
    }
    const Method* method = find_method(object, name);
    if (method) {
        found = bind(runtime, *method, object);
        return true;
    }
    if (!is_unsafe(object, name)) return false;
    found = Value::undefined(Undefinedness::unsafe, name, object.kind());
    return true;
}

Value get_attribute(Runtime& runtime, const Value& object, std::string_view name) {
    Value found;
    if (find_attribute(runtime, object, name, found)) return found;
    if (object.is(Kind::undefined)) raise_undefined(runtime, object);
    if (object.is(Kind::dict)) {
        const Value* value = object.as_dict().find(runtime, name);
        if (value) return *value;
    }
    return lacks_attribute(object, name);
}

Value get_item(Runtime& runtime, const Value& object, const Value& index) {
    if (object.is(Kind::undefined)) raise_undefined(runtime, object);
    Value found;
    if (find_item(runtime, object, index, found)) return found;
    if (index.is_string() && find_attribute(runtime, object, index.as_text(), found)) return found;
    return lacks_element(runtime, object, index);
}

Value get_slice(Runtime& runtime, const Value& object, const Value& start, const Value& stop, const Value& step) {
    if (object.is(Kind::undefined)) raise_undefined(runtime, object);
    Integer size = 0;
    if (!(object.is_string() || object.is_sequence() || object.is(Kind::range)) || !find_length(runtime, object, size))
        refuse(runtime, "a ", type_name(object), " cannot be sliced");
    const Range range = bounds(runtime, start, stop, step, size);
    if (object.is_string()) return slice_of_string(runtime, object, range);
    if (object.is_sequence()) return slice_of_items(runtime, object, range);
    return Value::range(runtime.make<Range>(slice_of_range(object.as_range(), range)));
}

void raise_undefined(const Runtime& runtime, const Value& undefined) {
    refuse(runtime, describe_undefined(undefined));
}

}  // namespace llmc::jinja
