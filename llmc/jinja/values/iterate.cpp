#include "llmc/jinja/values/iterate.h"

#include "llmc/jinja/text/text.h"
#include "llmc/jinja/values/dict.h"

namespace llmc::jinja {
namespace {

// Everything that has a length and items by position, but strings.
class Items final : public Iterator {
  public:
    Items(const Value& value, size_t size, bool backwards) : value_(value), left_(size), backwards_(backwards) {}

  private:
    bool advance(Runtime& runtime, Value& item) override {
        if (left_ == 0) return false;
        --left_;
        item = item_at(runtime, value_, backwards_ ? left_ : at_++);
        return true;
    }

    Value value_;
    size_t left_, at_ = 0;
    bool backwards_;
};

// The characters of Markup are plain strings, as markupsafe has no iterator of its own.
class Characters final : public Iterator {
  public:
    Characters(std::string_view text, bool backwards) : left_(text), backwards_(backwards) {}

  private:
    bool advance(Runtime&, Value& item) override {
        if (left_.empty()) return false;
        if (backwards_) {
            const size_t bytes = text::last_character_bytes(left_);
            item = Value::string(left_.substr(left_.size() - bytes));
            left_.remove_suffix(bytes);
        } else {
            const size_t bytes = text::first_character(left_).bytes;
            item = Value::string(left_.substr(0, bytes));
            left_.remove_prefix(bytes);
        }
        return true;
    }

    std::string_view left_;
    bool backwards_;
};

Iterator* walk(Runtime& runtime, const Value& value, bool backwards) {
    switch (value.kind()) {
        case Kind::string:
            return runtime.make<Characters>(value.as_text(), backwards);
        case Kind::undefined:
        case Kind::list:
        case Kind::tuple:
        case Kind::dict:
        case Kind::view:
        case Kind::range: {
            Integer size = 0;
            find_length(runtime, value, size);
            return runtime.make<Items>(value, static_cast<size_t>(size), backwards);
        }
        default:
            return nullptr;
    }
}

}  // namespace

Iterator& iterate(Runtime& runtime, const Value& value) {
    if (value.is(Kind::iterator)) return value.as_iterator();
    Iterator* iterator = walk(runtime, value, false);
    if (!iterator) refuse(runtime, "a ", type_name(value), " cannot be walked over");
    return *iterator;
}

Iterator* iterate_reversed(Runtime& runtime, const Value& value) {
    return walk(runtime, value, true);
}

bool is_iterable(const Value& value) {
    switch (value.kind()) {
        case Kind::string:
        case Kind::undefined:
        case Kind::list:
        case Kind::tuple:
        case Kind::dict:
        case Kind::view:
        case Kind::range:
        case Kind::iterator:
            return true;
        default:
            return false;
    }
}

std::vector<Value> items_of(Runtime& runtime, const Value& value) {
    if (value.is_sequence()) {
        const auto items = value.as_items();
        runtime.work(items.size_bytes());
        return {items.begin(), items.end()};
    }
    std::vector<Value> items;
    Iterator& iterator = iterate(runtime, value);
    for (Value item; iterator.next(runtime, item); runtime.step()) {
        runtime.check_size((items.size() + 1) * sizeof(Value));
        items.push_back(item);
    }
    return items;
}

bool find_length(Runtime& runtime, const Value& value, Integer& length) {
    switch (value.kind()) {
        case Kind::undefined:
            length = 0;
            return true;
        case Kind::string:
            runtime.work(value.as_text().size());
            length = static_cast<Integer>(text::length(value.as_text()));
            return true;
        case Kind::list:
        case Kind::tuple:
            length = static_cast<Integer>(value.as_items().size());
            return true;
        case Kind::dict:
            length = static_cast<Integer>(value.as_dict().size());
            return true;
        case Kind::view:
            length = static_cast<Integer>(value.as_view().dict->size());
            return true;
        case Kind::range:
            length = value.as_range().size();
            return true;
        case Kind::object:
            return value.as_object().length(runtime, length);
        default:
            return false;
    }
}

Value item_of(Runtime& runtime, const View& view, size_t index) {
    const Dict::Entry& entry = view.dict->entries()[index];
    switch (view.what) {
        case View::What::keys:
            return entry.key;
        case View::What::values:
            return entry.value;
        case View::What::items:
            return runtime.tuple({entry.key, entry.value});
    }
    return {};
}

Value item_at(Runtime& runtime, const Value& value, size_t index) {
    switch (value.kind()) {
        case Kind::string:
            runtime.work(index);
            return Value::string(text::cut(value.as_text(), index, index + 1), value.is_safe());
        case Kind::list:
        case Kind::tuple:
            return value.as_items()[index];
        case Kind::dict:
            return value.as_dict().entries()[index].key;
        case Kind::view:
            return item_of(runtime, value.as_view(), index);
        case Kind::range:
            return Value::integer(value.as_range().at(static_cast<Integer>(index)));
        default:
            return {};
    }
}

}  // namespace llmc::jinja
