// A value of the template language, as Python has them: undefined, None, bool, int, float, str, list, tuple, dict and a
// few more. A Value is 32 bytes, copied freely, and never changes; what it points to lives in the rendering's arena (or
// in the template, or in the variables that the caller passed) until the rendering ends.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace llmc::jinja {

class Dict;
class Iterator;
class Object;
class Namespace;
struct Range;
struct View;

// Python's integers have no bound. These have 128 bits, and what does not fit raises an error.
using Integer = __int128;

enum class Kind : uint8_t {
    missing,    // no value at all: a parameter that was not passed, a variable before its assignment. Never seen by a
                // template
    undefined,  // jinja2's Undefined
    none,
    boolean,
    integer,
    floating,
    string,
    list,
    tuple,
    dict,
    view,  // d.keys(), d.values(), d.items()
    range,
    iterator,  // what map, select, items, reverse and others return: it can be walked once
    name_space,
    object,  // functions, macros, methods, loop
};

// Where an undefined value comes from, for the message of the error that its use raises.
enum class Undefinedness : uint8_t {
    variable,   // text: its name
    attribute,  // text: its name; owner: the kind of what lacks it
    element,    // text: the index, printed; owner: the kind of what lacks it
    unsafe,     // text: an attribute that the sandbox keeps from templates
    hint,       // text: the message
};

class Value {
  public:
    Value() = default;  // missing
    static Value none() { return Value(Kind::none); }
    static Value boolean(bool truth) {
        Value value(Kind::boolean);
        value.integer_ = truth;
        return value;
    }
    static Value integer(Integer number) {
        Value value(Kind::integer);
        value.integer_ = number;
        return value;
    }
    static Value floating(double number) {
        Value value(Kind::floating);
        value.floating_ = number;
        return value;
    }
    // `safe`: markupsafe's Markup, a str that escapes what is added to it.
    static Value string(std::string_view text, bool safe = false) {
        Value value(Kind::string);
        value.text_ = text.data();
        value.size_ = text.size();
        value.safe_ = safe;
        return value;
    }
    static Value list(std::span<const Value> items) { return sequence(Kind::list, items); }
    static Value tuple(std::span<const Value> items) { return sequence(Kind::tuple, items); }
    // What the filter groupby makes: a tuple whose items are also the attributes grouper and list.
    static Value group(std::span<const Value> items) {
        Value value = tuple(items);
        value.safe_ = true;
        return value;
    }
    static Value dict(const Dict* dict) { return pointing(Kind::dict, dict); }
    static Value view(const View* view) { return pointing(Kind::view, view); }
    static Value range(const Range* range) { return pointing(Kind::range, range); }
    static Value iterator(Iterator* iterator) { return pointing(Kind::iterator, iterator); }
    static Value name_space(Namespace* names) { return pointing(Kind::name_space, names); }
    static Value object(Object* object) { return pointing(Kind::object, object); }
    static Value undefined(Undefinedness reason, std::string_view text, Kind owner = Kind::missing) {
        Value value(Kind::undefined);
        value.text_ = text.data();
        value.size_ = text.size();
        value.reason_ = reason;
        value.owner_ = owner;
        return value;
    }

    Kind kind() const { return kind_; }
    bool is(Kind kind) const { return kind_ == kind; }
    bool is_string() const { return kind_ == Kind::string; }
    bool is_sequence() const { return kind_ == Kind::list || kind_ == Kind::tuple; }
    bool is_integral() const { return kind_ == Kind::integer || kind_ == Kind::boolean; }  // Python's bool is an int
    bool is_number() const { return is_integral() || kind_ == Kind::floating; }

    // Each of these asks for the kind that it is named after.
    bool as_boolean() const { return integer_ != 0; }
    Integer as_integer() const { return integer_; }  // of a bool also: 0 or 1
    double as_floating() const { return floating_; }
    std::string_view as_text() const { return {text_, size_}; }  // of an undefined value also: what its reason says
    std::span<const Value> as_items() const { return {items_, size_}; }  // of list and tuple
    const Dict& as_dict() const { return *static_cast<const Dict*>(pointer_); }
    const View& as_view() const { return *static_cast<const View*>(pointer_); }
    const Range& as_range() const { return *static_cast<const Range*>(pointer_); }
    Iterator& as_iterator() const { return *static_cast<Iterator*>(const_cast<void*>(pointer_)); }
    Namespace& as_name_space() const { return *static_cast<Namespace*>(const_cast<void*>(pointer_)); }
    Object& as_object() const { return *static_cast<Object*>(const_cast<void*>(pointer_)); }
    bool is_safe() const { return safe_; }   // of a string: Markup
    bool is_group() const { return safe_; }  // of a tuple
    Undefinedness reason() const { return reason_; }
    Kind owner() const { return owner_; }

    // The number as a double, of int, bool and float.
    double number() const { return kind_ == Kind::floating ? floating_ : static_cast<double>(integer_); }
    // What makes two values of one kind the same object, as Python's `is` sees it.
    const void* identity() const { return pointer_; }

  private:
    explicit Value(Kind kind) : kind_(kind) {}
    static Value pointing(Kind kind, const void* pointer) {
        Value value(kind);
        value.pointer_ = pointer;
        return value;
    }
    static Value sequence(Kind kind, std::span<const Value> items) {
        Value value(kind);
        value.items_ = items.data();
        value.size_ = items.size();
        return value;
    }

    Kind kind_ = Kind::missing;
    bool safe_ = false;
    Undefinedness reason_ = Undefinedness::variable;
    Kind owner_ = Kind::missing;
    size_t size_ = 0;
    union {
        Integer integer_ = 0;
        double floating_;
        const char* text_;
        const Value* items_;
        const void* pointer_;
    };
};

// range(start, stop, step); step is not 0.
struct Range {
    Integer start, stop, step;
    Integer size() const;
    Integer at(Integer index) const { return start + index * step; }  // 0 <= index < size()
};

// A dict's keys, values or items, in its order.
struct View {
    enum class What : uint8_t { keys, values, items };
    What what;
    const Dict* dict;
};

// The name of the type, as Python has it: "str", "list", ...; but "None", "dict view", and of an object its own name.
std::string_view type_name(const Value& value);
std::string_view type_name(Kind kind);

// Whether Python counts it as true. An iterator always does.
bool is_true(const Value& value);

}  // namespace llmc::jinja
