#include "llmc/jinja/methods/methods.h"

#include <algorithm>
#include <array>

#include "llmc/jinja/library/arguments.h"

namespace llmc::jinja {
namespace {

class BoundMethod final : public Object {
  public:
    BoundMethod(const Method& method, const Value& self) : method_(method), self_(self) {}
    std::string_view type_name() const override { return "builtin_function_or_method"; }
    Value call(Runtime& runtime, const Arguments& arguments) override {
        return call_method(runtime, method_, self_, arguments);
    }

  private:
    const Method& method_;
    Value self_;
};

void check_known(const Runtime& runtime, const Method& method, const Value& self) {
    if (!method.body) refuse_left_out(runtime, concat("method of ", type_name(self)), method.name);
}

}  // namespace

const Method* find_method(const Value& self, std::string_view name) {
    switch (self.kind()) {
        case Kind::string: {
            const Method* method = find_string_method(name);
            if (!method) method = find_string_search_method(name);
            return method ? method : find_string_test_method(name);
        }
        case Kind::boolean:
        case Kind::integer:
        case Kind::floating:
            return find_number_method(self.kind(), name);
        default:
            return find_container_method(self.kind(), name);
    }
}

bool changes(Kind kind, std::string_view name) {
    constexpr std::array<std::string_view, 8> kOfList{"append", "clear",  "extend",  "insert",
                                                      "pop",    "remove", "reverse", "sort"};
    constexpr std::array<std::string_view, 5> kOfDict{"clear", "pop", "popitem", "setdefault", "update"};
    if (kind == Kind::list) return std::ranges::find(kOfList, name) != kOfList.end();
    return kind == Kind::dict && std::ranges::find(kOfDict, name) != kOfDict.end();
}

Value call_method(Runtime& runtime, const Method& method, const Value& self, const Arguments& arguments) {
    check_known(runtime, method, self);
    count_call(runtime, self, arguments);
    return method.body(runtime, self, arguments);
}

Value bind(Runtime& runtime, const Method& method, const Value& self) {
    check_known(runtime, method, self);
    return Value::object(runtime.make<BoundMethod>(method, self));
}

}  // namespace llmc::jinja
