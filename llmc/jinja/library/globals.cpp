#include "llmc/jinja/library/globals.h"

#include <array>
#include <limits>

#include "llmc/jinja/library/arguments.h"
#include "llmc/jinja/operators/operators.h"
#include "llmc/jinja/values/dict.h"
#include "llmc/jinja/values/iterate.h"

namespace llmc::jinja {
namespace {

constexpr Integer kMostOfRange = 100'000;

Value range(Runtime& runtime, const Arguments& arguments) {
    const Parameters parameters(runtime, "range", arguments, {"/start", "/stop", "/step"}, 1);
    const auto part = [&](size_t i) {
        const Integer value = parameters.integer(i);
        if (value > std::numeric_limits<int64_t>::max() || value < std::numeric_limits<int64_t>::min())
            refuse(runtime, "range takes integers of 64 bits");
        return value;
    };
    Range range{0, part(0), 1};
    if (parameters.has(1)) range = {part(0), part(1), parameters.has(2) ? part(2) : 1};
    if (range.step == 0) refuse(runtime, "the step of a range is zero");
    if (range.size() > kMostOfRange)
        refuse(runtime, "a range may have ", represent_integer(kMostOfRange), " items, not ",
               represent_integer(range.size()));
    return Value::range(runtime.make<Range>(range));
}

// dict(mapping or pairs, name=value, ..)
Dict* make_dict(Runtime& runtime, std::string_view function, const Arguments& arguments) {
    auto* dict = runtime.make<Dict>();
    if (arguments.positional.size() > 1)
        refuse(runtime, function, " takes one mapping, not ", arguments.positional.size());
    if (!arguments.positional.empty()) {
        const Value& from = arguments.positional[0];
        if (from.is(Kind::undefined)) raise_undefined(runtime, from);
        if (from.is(Kind::dict)) {
            for (const Dict::Entry& entry : from.as_dict().entries()) dict->set(runtime, entry.key, entry.value);
        } else {
            Iterator& pairs = iterate(runtime, from);
            for (Value pair; pairs.next(runtime, pair); runtime.step()) {
                const std::vector<Value> items = items_of(runtime, pair);
                if (items.size() != 2) refuse(runtime, function, " needs pairs of key and value");
                dict->set(runtime, items[0], items[1]);
            }
        }
    }
    for (const Keyword& keyword : arguments.keywords) dict->set(runtime, Value::string(keyword.name), keyword.value);
    return dict;
}

Value dict(Runtime& runtime, const Arguments& arguments) {
    return Value::dict(make_dict(runtime, "dict", arguments));
}

Value name_space(Runtime& runtime, const Arguments& arguments) {
    const Dict* given = make_dict(runtime, "namespace", arguments);
    auto* names = runtime.make<Namespace>(runtime.make<Dict>());
    for (const Dict::Entry& entry : given->entries()) {
        if (!entry.key.is_string()) refuse(runtime, "the attributes of a namespace have strings as names");
        names->set(runtime, entry.key.as_text(), entry.value);
    }
    return Value::name_space(names);
}

Value raise_exception(Runtime& runtime, const Arguments& arguments) {
    const Parameters parameters(runtime, "raise_exception", arguments, {"message"}, 1);
    refuse(runtime, "the template refuses the conversation: ", to_string(runtime, parameters[0]));
}

struct Global {
    std::string_view name;
    // nullptr: jinja2 has it, and no chat template needs it; its call is refused by name.
    Value (*body)(Runtime& runtime, const Arguments& arguments);
};
constexpr std::array<Global, 8> kGlobals{{
    {"cycler", nullptr},
    {"dict", dict},
    {"joiner", nullptr},
    {"lipsum", nullptr},
    {"namespace", name_space},
    {"raise_exception", raise_exception},
    {"range", range},
    {"strftime_now", strftime_now},
}};
static_assert(is_sorted_by_name(kGlobals));

class Function final : public Object {
  public:
    explicit Function(const Global& global) : global_(global) {}
    std::string_view type_name() const override { return "function"; }
    Value call(Runtime& runtime, const Arguments& arguments) override {
        if (!global_.body) refuse_left_out(runtime, "function", global_.name);
        count_call(runtime, {}, arguments);
        return global_.body(runtime, arguments);
    }

  private:
    const Global& global_;
};

}  // namespace

bool find_global(Runtime& runtime, std::string_view name, Value& found) {
    const Global* global = find_by_name(kGlobals, name);
    if (global) found = Value::object(runtime.make<Function>(*global));
    return global != nullptr;
}

}  // namespace llmc::jinja
