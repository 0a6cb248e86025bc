// The methods of dict, list, tuple and range, and of numbers.
#include <array>
#include <cmath>

#include "llmc/jinja/library/arguments.h"
#include "llmc/jinja/methods/methods.h"
#include "llmc/jinja/operators/compare.h"
#include "llmc/jinja/values/dict.h"
#include "llmc/jinja/values/iterate.h"

namespace llmc::jinja {
namespace {

template <View::What what>
Value view(Runtime& runtime, const Value& self, const Arguments& arguments) {
    const Parameters none(runtime, "the method of dict", arguments, {});
    return Value::view(runtime.make<View>(View{what, &self.as_dict()}));
}

Value get(Runtime& runtime, const Value& self, const Arguments& arguments) {
    const Parameters parameters(runtime, "get", arguments, {"/key", "/default"}, 1);
    const Value* found = self.as_dict().find(runtime, parameters[0]);
    return found ? *found : parameters.get(1, Value::none());
}

Value copy_dict(Runtime& runtime, const Value& self, const Arguments& arguments) {
    const Parameters none(runtime, "copy", arguments, {});
    auto* copy = runtime.make<Dict>();
    for (const Dict::Entry& entry : self.as_dict().entries()) copy->set(runtime, entry.key, entry.value);
    return Value::dict(copy);
}

Value copy_list(Runtime& runtime, const Value& self, const Arguments& arguments) {
    const Parameters none(runtime, "copy", arguments, {});
    return runtime.list(self.as_items());
}

Value count(Runtime& runtime, const Value& self, const Arguments& arguments) {
    const Parameters parameters(runtime, "count", arguments, {"/value"}, 1);
    Integer found = 0;
    Iterator& items = iterate(runtime, self);
    for (Value item; items.next(runtime, item); runtime.step()) found += equal(runtime, item, parameters[0]);
    return Value::integer(found);
}

Value index(Runtime& runtime, const Value& self, const Arguments& arguments) {
    const Parameters parameters(runtime, "index", arguments, {"/value", "/start", "/stop"}, 1);
    Integer size = 0;
    find_length(runtime, self, size);
    const auto place = [&](size_t i, Integer otherwise) {
        const Integer at = parameters.integer(i, otherwise);
        return at < 0 ? std::max<Integer>(at + size, 0) : std::min(at, size);
    };
    for (Integer at = place(1, 0), stop = place(2, size); at < stop; ++at) {
        runtime.step();
        if (equal(runtime, item_at(runtime, self, static_cast<size_t>(at)), parameters[0])) return Value::integer(at);
    }
    refuse(runtime, "index: the value is not in the ", type_name(self));
}

Value is_whole(Runtime& runtime, const Value& self, const Arguments& arguments) {
    const Parameters none(runtime, "is_integer", arguments, {});
    return Value::boolean(std::isfinite(self.number()) && std::trunc(self.number()) == self.number());
}

constexpr std::array<Method, 6> kDictMethods{{
    {"copy", copy_dict},
    {"fromkeys", nullptr},
    {"get", get},
    {"items", view<View::What::items>},
    {"keys", view<View::What::keys>},
    {"values", view<View::What::values>},
}};
constexpr std::array<Method, 3> kListMethods{{{"copy", copy_list}, {"count", count}, {"index", index}}};
constexpr std::array<Method, 2> kTupleMethods{{{"count", count}, {"index", index}}};
constexpr std::array<Method, 7> kIntegerMethods{{{"bit_count", nullptr},
                                                 {"bit_length", nullptr},
                                                 {"conjugate", nullptr},
                                                 {"denominator", nullptr},
                                                 {"imag", nullptr},
                                                 {"numerator", nullptr},
                                                 {"real", nullptr}}};
constexpr std::array<Method, 4> kFloatMethods{
    {{"conjugate", nullptr}, {"imag", nullptr}, {"is_integer", is_whole}, {"real", nullptr}}};
static_assert(is_sorted_by_name(kDictMethods) && is_sorted_by_name(kListMethods) && is_sorted_by_name(kTupleMethods) &&
              is_sorted_by_name(kIntegerMethods) && is_sorted_by_name(kFloatMethods));

}  // namespace

const Method* find_container_method(Kind kind, std::string_view name) {
    switch (kind) {
        case Kind::dict:
            return find_by_name(kDictMethods, name);
        case Kind::list:
            return find_by_name(kListMethods, name);
        case Kind::tuple:
        case Kind::range:
            return find_by_name(kTupleMethods, name);
        default:
            return nullptr;
    }
}

const Method* find_number_method(Kind kind, std::string_view name) {
    return kind == Kind::floating ? find_by_name(kFloatMethods, name) : find_by_name(kIntegerMethods, name);
}

}  // namespace llmc::jinja
