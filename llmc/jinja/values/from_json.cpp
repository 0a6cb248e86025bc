#include "llmc/jinja/values/from_json.h"

#include <nlohmann/json.hpp>

#include "llmc/jinja/values/dict.h"

namespace llmc::jinja {
namespace {

using Json = nlohmann::ordered_json;

Value from_array(Runtime& runtime, const Json& json) {
    auto* items = runtime.array<Value>(json.size());
    size_t size = 0;
    for (const Json& item : json) new (&items[size++]) Value(from_json(runtime, item));
    return Value::list({items, size});
}

Value from_object(Runtime& runtime, const Json& json) {
    auto* dict = runtime.make<Dict>();
    for (auto member = json.begin(); member != json.end(); ++member)
        dict->set(runtime, Value::string(member.key()), from_json(runtime, member.value()));
    return Value::dict(dict);
}

}  // namespace

Value from_json(Runtime& runtime, const Json& json) {
    const Runtime::Nesting nesting(runtime);
    switch (json.type()) {
        case Json::value_t::boolean:
            return Value::boolean(json.get<bool>());
        case Json::value_t::number_integer:
            return Value::integer(json.get<int64_t>());
        case Json::value_t::number_unsigned:
            return Value::integer(static_cast<Integer>(json.get<uint64_t>()));
        case Json::value_t::number_float:
            return Value::floating(json.get<double>());
        case Json::value_t::string:
            return Value::string(json.get_ref<const std::string&>());
        case Json::value_t::array:
            return from_array(runtime, json);
        case Json::value_t::object:
            return from_object(runtime, json);
        default:
            return Value::none();
    }
}

}  // namespace llmc::jinja
