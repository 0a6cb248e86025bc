// Filters of sequences that return one value, or a list.
#include <algorithm>
#include <array>

#include "llmc/jinja/filters/attributes.h"
#include "llmc/jinja/filters/filters.h"
#include "llmc/jinja/library/arguments.h"
#include "llmc/jinja/operators/compare.h"
#include "llmc/jinja/operators/operators.h"
#include "llmc/jinja/text/text.h"
#include "llmc/jinja/values/dict.h"
#include "llmc/jinja/values/iterate.h"

namespace llmc::jinja {
namespace {

Value length(Runtime& runtime, const Value& value, const Arguments& arguments) {
    const Parameters none(runtime, "length", arguments, {});
    Integer length = 0;
    if (!find_length(runtime, value, length)) refuse(runtime, "a ", type_name(value), " has no length");
    return Value::integer(length);
}

Value first(Runtime& runtime, const Value& value, const Arguments& arguments) {
    const Parameters none(runtime, "first", arguments, {});
    Value item;
    if (iterate(runtime, value).next(runtime, item)) return item;
    return Value::undefined(Undefinedness::hint, "there is no first item: the sequence is empty");
}

Value last(Runtime& runtime, const Value& value, const Arguments& arguments) {
    const Parameters none(runtime, "last", arguments, {});
    Iterator* items = iterate_reversed(runtime, value);
    if (!items) refuse(runtime, "a ", type_name(value), " cannot be reversed; put '| list' before");
    Value item;
    if (items->next(runtime, item)) return item;
    return Value::undefined(Undefinedness::hint, "there is no last item: the sequence is empty");
}

Value to_list(Runtime& runtime, const Value& value, const Arguments& arguments) {
    const Parameters none(runtime, "list", arguments, {});
    return runtime.list(items_of(runtime, value));
}

Value join(Runtime& runtime, const Value& value, const Arguments& arguments) {
    const Parameters parameters(runtime, "join", arguments, {"d", "attribute"});
    const std::string separator = parameters.has(0) ? to_string(runtime, parameters[0]) : "";
    const AttributePath path(runtime, parameters.get(1, Value::none()));
    std::string joined;
    bool is_first = true;
    Iterator& items = iterate(runtime, value);
    for (Value item; items.next(runtime, item); runtime.step()) {
        if (!is_first) joined += separator;
        is_first = false;
        append_string(runtime, joined, path.of(runtime, item));
        runtime.work(separator.size());
        runtime.check_size(joined.size());
    }
    return runtime.string(joined);
}

Value reverse(Runtime& runtime, const Value& value, const Arguments& arguments) {
    const Parameters none(runtime, "reverse", arguments, {});
    if (value.is_string()) return get_slice(runtime, value, Value::none(), Value::none(), Value::integer(-1));
    Iterator* items = iterate_reversed(runtime, value);
    if (items) return Value::iterator(items);
    std::vector<Value> all = items_of(runtime, value);
    std::ranges::reverse(all);
    return runtime.list(all);
}

Value sort(Runtime& runtime, const Value& value, const Arguments& arguments) {
    const Parameters parameters(runtime, "sort", arguments, {"reverse", "case_sensitive", "attribute"});
    std::vector<Value> items = items_of(runtime, value);
    const SortKey key(runtime, parameters.get(2, Value::none()), parameters.truth(1), true);
    sort_by(runtime, items, key, parameters.integer(0, 0) != 0);
    return runtime.list(items);
}

Value dict_sort(Runtime& runtime, const Value& value, const Arguments& arguments) {
    const Parameters parameters(runtime, "dictsort", arguments, {"case_sensitive", "by", "reverse"});
    if (value.is(Kind::undefined)) raise_undefined(runtime, value);
    if (!value.is(Kind::dict)) refuse(runtime, "dictsort needs a dict, not a ", type_name(value));
    const std::string_view by = parameters.text(1, "key");
    if (by != "key" && by != "value") refuse(runtime, "dictsort sorts by key or by value");
    const View view{View::What::items, &value.as_dict()};
    std::vector<Value> items;
    for (size_t i = 0; i < view.dict->size(); ++i) items.push_back(item_of(runtime, view, i));
    const SortKey key(runtime, Value::integer(by == "key" ? 0 : 1), parameters.truth(0), false);
    sort_by(runtime, items, key, parameters.integer(2, 0) != 0);
    return runtime.list(items);
}

// greatest: of equal ones the first, as of the smallest.
template <bool greatest>
Value extreme(Runtime& runtime, const Value& value, const Arguments& arguments) {
    const Parameters parameters(runtime, greatest ? "max" : "min", arguments, {"case_sensitive", "attribute"});
    const SortKey key(runtime, parameters.get(1, Value::none()), parameters.truth(0), false);
    Iterator& items = iterate(runtime, value);
    Value best;
    if (!items.next(runtime, best))
        return Value::undefined(Undefinedness::hint, "there is no such item: the sequence is empty");
    Value best_key = key.of(runtime, best);
    for (Value item; items.next(runtime, item); runtime.step()) {
        const Value item_key = key.of(runtime, item);
        if (greatest ? less(runtime, best_key, item_key) : less(runtime, item_key, best_key)) {
            best = item;
            best_key = item_key;
        }
    }
    return best;
}

Value sum(Runtime& runtime, const Value& value, const Arguments& arguments) {
    const Parameters parameters(runtime, "sum", arguments, {"attribute", "start"});
    const AttributePath path(runtime, parameters.get(0, Value::none()));
    Value total = parameters.get(1, Value::integer(0));
    if (total.is_string()) refuse(runtime, "sum cannot add strings; join them");
    Iterator& items = iterate(runtime, value);
    for (Value item; items.next(runtime, item); runtime.step())
        total = calculate(runtime, Arithmetic::add, total, path.of(runtime, item));
    return total;
}

Value group_by(Runtime& runtime, const Value& value, const Arguments& arguments) {
    const Parameters parameters(runtime, "groupby", arguments, {"attribute", "default", "case_sensitive"}, 1);
    const SortKey key(runtime, parameters[0], parameters.truth(2), false, parameters.get(1, Value::none()));
    const AttributePath shown(runtime, parameters[0], parameters.get(1, Value::none()));
    std::vector<Value> items = items_of(runtime, value), groups;
    sort_by(runtime, items, key, false);
    for (size_t begin = 0, end = 0; begin < items.size(); begin = end) {
        const Value group = key.of(runtime, items[begin]);
        for (end = begin + 1; end < items.size() && equal(runtime, key.of(runtime, items[end]), group);) ++end;
        const Value list = runtime.list(std::span<const Value>(items).subspan(begin, end - begin));
        const std::array<Value, 2> pair{shown.of(runtime, items[begin]), list};
        groups.push_back(Value::group(runtime.keep(pair)));
    }
    return runtime.list(groups);
}

constexpr std::array<Filter, 14> kFilters{{
    {"count", length},
    {"dictsort", dict_sort},
    {"first", first},
    {"groupby", group_by},
    {"join", join},
    {"last", last},
    {"length", length},
    {"list", to_list},
    {"max", extreme<true>},
    {"min", extreme<false>},
    {"random", nullptr},
    {"reverse", reverse},
    {"sort", sort},
    {"sum", sum},
}};
static_assert(is_sorted_by_name(kFilters));

}  // namespace

const Filter* find_sequence_filter(std::string_view name) {
    return find_by_name(kFilters, name);
}

}  // namespace llmc::jinja
