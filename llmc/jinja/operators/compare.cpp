#include "llmc/jinja/operators/compare.h"

#include <algorithm>
#include <cmath>
#include <compare>

#include "llmc/jinja/operators/operators.h"
#include "llmc/jinja/text/text.h"
#include "llmc/jinja/values/dict.h"
#include "llmc/jinja/values/iterate.h"

namespace llmc::jinja {
namespace {

bool equal_items(Runtime& runtime, std::span<const Value> left, std::span<const Value> right) {
    if (left.size() != right.size()) return false;
    for (size_t i = 0; i < left.size(); ++i)
        if (!equal(runtime, left[i], right[i])) return false;
    return true;
}

bool equal_dicts(Runtime& runtime, const Dict& left, const Dict& right) {
    if (left.size() != right.size()) return false;
    return std::ranges::all_of(left.entries(), [&](const Dict::Entry& entry) {
        const Value* other = right.find(runtime, entry.key);
        return other && equal(runtime, entry.value, *other);
    });
}

bool equal_ranges(const Range& left, const Range& right) {
    const Integer size = left.size();
    if (size != right.size()) return false;
    return size == 0 || (left.start == right.start && (size == 1 || left.step == right.step));
}

// Keys and items compare as sets do; values are equal to themselves only.
bool equal_views(Runtime& runtime, const View& left, const View& right) {
    if (left.what != right.what) return false;
    if (left.what == View::What::values) return &left == &right;
    if (left.what == View::What::items) return equal_dicts(runtime, *left.dict, *right.dict);
    return left.dict->size() == right.dict->size() &&
           std::ranges::all_of(left.dict->entries(), [&](const Dict::Entry& entry) {
               return right.dict->find(runtime, entry.key) != nullptr;
           });
}

// An int and a float in exact order: 2**53 + 1 is more than 2.0**53.
std::partial_ordering order(Integer left, double right) {
    if (std::isnan(right)) return std::partial_ordering::unordered;
    if (right >= 0x1p127) return std::partial_ordering::less;
    if (right < -0x1p127) return std::partial_ordering::greater;
    const auto whole = static_cast<Integer>(right);
    if (left != whole) return left < whole ? std::partial_ordering::less : std::partial_ordering::greater;
    return 0.0 <=> right - static_cast<double>(whole);
}

std::partial_ordering order_numbers(const Value& left, const Value& right) {
    if (left.is(Kind::floating) && right.is(Kind::floating)) return left.as_floating() <=> right.as_floating();
    if (left.is(Kind::floating)) return 0 <=> order(right.as_integer(), left.as_floating());
    if (right.is(Kind::floating)) return order(left.as_integer(), right.as_floating());
    if (left.as_integer() == right.as_integer()) return std::partial_ordering::equivalent;
    return left.as_integer() < right.as_integer() ? std::partial_ordering::less : std::partial_ordering::greater;
}

bool less_items(Runtime& runtime, std::span<const Value> left, std::span<const Value> right) {
    for (size_t i = 0; i < left.size() && i < right.size(); ++i)
        if (!equal(runtime, left[i], right[i])) return less(runtime, left[i], right[i]);
    return left.size() < right.size();
}

bool contains_in_view(Runtime& runtime, const View& view, const Value& item) {
    const auto entries = view.dict->entries();
    switch (view.what) {
        case View::What::keys:
            return view.dict->find(runtime, item) != nullptr;
        case View::What::values:
            return std::ranges::any_of(entries, [&](const auto& entry) { return equal(runtime, entry.value, item); });
        case View::What::items: {
            if (!item.is(Kind::tuple) || item.as_items().size() != 2) return false;
            const Value* value = view.dict->find(runtime, item.as_items()[0]);
            return value && equal(runtime, *value, item.as_items()[1]);
        }
    }
    return false;
}

}  // namespace

bool equal(Runtime& runtime, const Value& left, const Value& right) {
    if (left.is_number() && right.is_number()) return order_numbers(left, right) == 0;
    if (left.kind() != right.kind()) return false;
    runtime.step();
    const Runtime::Nesting nesting(runtime);
    switch (left.kind()) {
        case Kind::missing:
        case Kind::undefined:
        case Kind::none:
            return true;
        case Kind::string:
            if (left.as_text().size() == right.as_text().size()) runtime.work(left.as_text().size());
            return left.as_text() == right.as_text();
        case Kind::list:
        case Kind::tuple:
            return equal_items(runtime, left.as_items(), right.as_items());
        case Kind::dict:
            return equal_dicts(runtime, left.as_dict(), right.as_dict());
        case Kind::view:
            return equal_views(runtime, left.as_view(), right.as_view());
        case Kind::range:
            return equal_ranges(left.as_range(), right.as_range());
        default:
            return left.identity() == right.identity();
    }
}

bool less(Runtime& runtime, const Value& left, const Value& right) {
    runtime.step();
    const Runtime::Nesting nesting(runtime);
    if (left.is_number() && right.is_number()) return order_numbers(left, right) < 0;
    if (left.is_string() && right.is_string()) {
        runtime.work(std::min(left.as_text().size(), right.as_text().size()));
        return left.as_text() < right.as_text();  // UTF-8 sorts as its code points do
    }
    if (left.is_sequence() && left.kind() == right.kind())
        return less_items(runtime, left.as_items(), right.as_items());
    refuse(runtime, "a ", type_name(left), " and a ", type_name(right), " have no order");
}

bool contains(Runtime& runtime, const Value& container, const Value& item) {
    switch (container.kind()) {
        case Kind::string:
            if (!item.is_string()) refuse(runtime, "a ", type_name(item), " cannot be in a str");
            runtime.work(container.as_text().size() + item.as_text().size());
            return text::find(container.as_text(), item.as_text()) != std::string_view::npos;
        case Kind::list:
        case Kind::tuple:
            return std::ranges::any_of(container.as_items(),
                                       [&](const Value& other) { return equal(runtime, other, item); });
        case Kind::dict:
            return container.as_dict().find(runtime, item) != nullptr;
        case Kind::view:
            return contains_in_view(runtime, container.as_view(), item);
        case Kind::undefined:
        case Kind::range:
        case Kind::iterator: {
            Iterator& iterator = iterate(runtime, container);
            for (Value other; iterator.next(runtime, other); runtime.step())
                if (equal(runtime, other, item)) return true;
            return false;
        }
        default:
            refuse(runtime, "nothing can be in a ", type_name(container));
    }
}

bool compare(Runtime& runtime, Relation relation, const Value& left, const Value& right) {
    const auto in_order = [&](const Value& smaller, const Value& larger) {
        if (left.is(Kind::undefined)) raise_undefined(runtime, left);
        if (right.is(Kind::undefined)) raise_undefined(runtime, right);
        return less(runtime, smaller, larger);
    };
    switch (relation) {
        case Relation::equal:
            return equal(runtime, left, right);
        case Relation::not_equal:
            return !equal(runtime, left, right);
        case Relation::less:
            return in_order(left, right);
        case Relation::less_equal:
            return in_order(left, right) || equal(runtime, left, right);
        case Relation::greater:
            return in_order(right, left);
        case Relation::greater_equal:
            return in_order(right, left) || equal(runtime, left, right);
        case Relation::in:
            return contains(runtime, right, left);
        case Relation::not_in:
            return !contains(runtime, right, left);
    }
    return false;
}

bool same(const Value& left, const Value& right) {
    if (left.kind() != right.kind()) return false;
    switch (left.kind()) {
        case Kind::missing:
        case Kind::none:
            return true;
        case Kind::undefined:
            return left.as_text().data() == right.as_text().data();
        case Kind::boolean:
        case Kind::integer:
            return left.as_integer() == right.as_integer();
        case Kind::floating:
            return left.as_floating() == right.as_floating();
        case Kind::string:
            return left.as_text() == right.as_text() && left.is_safe() == right.is_safe();
        case Kind::list:
        case Kind::tuple:
            return left.as_items().data() == right.as_items().data() &&
                   left.as_items().size() == right.as_items().size();
        default:
            return left.identity() == right.identity();
    }
}

}  // namespace llmc::jinja
