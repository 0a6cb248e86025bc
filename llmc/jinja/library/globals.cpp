#include "llmc/jinja/library/globals.h"

#include <array>
#include <limits>

#include "llmc/jinja/library/arguments.h"
#include "llmc/jinja/methods/methods.h"
#include "llmc/jinja/operators/operators.h"
#include "llmc/jinja/values/dict.h"
#include "llmc/jinja/values/iterate.h"

namespace llmc::jinja {
namespace {

constexpr Integer kMostOfRange = 100'000;

// A function of the library, or a method with `self`.
class Function final : public Object {
  public:
    using Body = Value (*)(Runtime&, const Arguments&);
    explicit Function(Body body) : body_(body) {}
    std::string_view type_name() const override { return "function"; }
    Value call(Runtime& runtime, const Arguments& arguments) override { return body_(runtime, arguments); }

  private:
    Body body_;
};

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

class DictFunction final : public Object {
  public:
    std::string_view type_name() const override { return "TemplateDict"; }
    bool attribute(Runtime& runtime, std::string_view name, Value& found) override {
        if (name != "fromkeys") return false;
        found = bind(runtime, *find_container_method(Kind::dict, name), Value::dict(runtime.make<Dict>()));
        return true;
    }
    Value call(Runtime& runtime, const Arguments& arguments) override {
        return Value::dict(make_dict(runtime, "dict", arguments));
    }
};

Value name_space(Runtime& runtime, const Arguments& arguments) {
    const Dict* given = make_dict(runtime, "namespace", arguments);
    auto* names = runtime.make<Namespace>(runtime.make<Dict>());
    for (const Dict::Entry& entry : given->entries()) {
        if (!entry.key.is_string()) refuse(runtime, "the attributes of a namespace have strings as names");
        names->set(runtime, entry.key.as_text(), entry.value);
    }
    return Value::name_space(names);
}

// cycler('a', 'b'): next() gives its items in turn.
class Cycler final : public Object {
  public:
    explicit Cycler(std::span<const Value> items) : items_(items) {}
    std::string_view type_name() const override { return "Cycler"; }
    bool callable() const override { return false; }
    bool attribute(Runtime& runtime, std::string_view name, Value& found) override;
    Value next() {
        const Value item = items_[at_];
        at_ = (at_ + 1) % items_.size();
        return item;
    }
    void reset() { at_ = 0; }

  private:
    std::span<const Value> items_;
    size_t at_ = 0;
};

class CyclerMethod final : public Object {
  public:
    CyclerMethod(Cycler& cycler, bool resets) : cycler_(cycler), resets_(resets) {}
    std::string_view type_name() const override { return "method"; }
    Value call(Runtime& runtime, const Arguments& arguments) override {
        const Parameters none(runtime, resets_ ? "reset" : "next", arguments, {});
        if (!resets_) return cycler_.next();
        cycler_.reset();
        return Value::none();
    }

  private:
    Cycler& cycler_;
    bool resets_;
};

bool Cycler::attribute(Runtime& runtime, std::string_view name, Value& found) {
    if (name == "next" || name == "reset")
        found = Value::object(runtime.make<CyclerMethod>(*this, name == "reset"));
    else if (name == "current")
        found = items_[at_];
    else if (name == "pos")
        found = Value::integer(static_cast<Integer>(at_));
    else if (name == "items")
        found = Value::tuple(items_);
    else
        return false;
    return true;
}

Value cycler(Runtime& runtime, const Arguments& arguments) {
    if (arguments.positional.empty() || !arguments.keywords.empty()) refuse(runtime, "cycler needs at least one item");
    return Value::object(runtime.make<Cycler>(runtime.keep(arguments.positional)));
}

// joiner(', '): nothing when it is called first, then the separator.
class Joiner final : public Object {
  public:
    explicit Joiner(const Value& separator) : separator_(separator) {}
    std::string_view type_name() const override { return "Joiner"; }
    bool attribute(Runtime&, std::string_view name, Value& found) override {
        if (name == "sep") found = separator_;
        if (name == "used") found = Value::boolean(used_);
        return name == "sep" || name == "used";
    }
    Value call(Runtime& runtime, const Arguments& arguments) override {
        const Parameters none(runtime, "joiner", arguments, {});
        return std::exchange(used_, true) ? separator_ : Value::string({});
    }

  private:
    Value separator_;
    bool used_ = false;
};

Value joiner(Runtime& runtime, const Arguments& arguments) {
    const Parameters parameters(runtime, "joiner", arguments, {"sep"});
    return Value::object(runtime.make<Joiner>(parameters.get(0, Value::string(", "))));
}

Value raise_exception(Runtime& runtime, const Arguments& arguments) {
    const Parameters parameters(runtime, "raise_exception", arguments, {"message"}, 1);
    refuse(runtime, "the template refuses the conversation: ", to_string(runtime, parameters[0]));
}

Value lipsum(Runtime& runtime, const Arguments&) {
    refuse(runtime, "lipsum writes random text, which no chat template needs");
}

struct Global {
    std::string_view name;
    Function::Body body;
};
constexpr std::array<Global, 7> kGlobals{{
    {"cycler", cycler},
    {"joiner", joiner},
    {"lipsum", lipsum},
    {"namespace", name_space},
    {"raise_exception", raise_exception},
    {"range", range},
    {"strftime_now", strftime_now},
}};
static_assert(is_sorted_by_name(kGlobals));

}  // namespace

bool find_global(Runtime& runtime, std::string_view name, Value& found) {
    if (name == "dict") {
        found = Value::object(runtime.make<DictFunction>());
        return true;
    }
    const Global* global = find_by_name(kGlobals, name);
    if (global) found = Value::object(runtime.make<Function>(global->body));
    return global != nullptr;
}

}  // namespace llmc::jinja
