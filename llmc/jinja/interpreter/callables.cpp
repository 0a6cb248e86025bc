#include "llmc/jinja/interpreter/callables.h"

#include "llmc/jinja/library/arguments.h"
#include "llmc/jinja/operators/compare.h"
#include "llmc/jinja/values/iterate.h"

namespace llmc::jinja {
namespace {

// loop.cycle and loop.changed.
class LoopMethod final : public Object {
  public:
    LoopMethod(LoopValue& loop, bool cycles) : loop_(loop), cycles_(cycles) {}
    std::string_view type_name() const override { return "method"; }
    Value call(Runtime& runtime, const Arguments& arguments) override {
        if (!arguments.keywords.empty()) refuse(runtime, "a method of loop takes no named arguments");
        return cycles_ ? loop_.cycle(arguments) : loop_.changed(arguments);
    }

  private:
    LoopValue& loop_;
    bool cycles_;
};

// The items of a list that was made when a length was asked for.
class RestOfItems final : public Iterator {
  public:
    explicit RestOfItems(std::span<const Value> items) : items_(items) {}

  private:
    bool advance(Runtime&, Value& item) override {
        if (items_.empty()) return false;
        item = items_[0];
        items_ = items_.subspan(1);
        return true;
    }

    std::span<const Value> items_;
};

}  // namespace

bool MacroValue::attribute(Runtime& runtime, std::string_view name, Value& found) {
    if (name == "name") {
        found = code_.name.empty() ? Value::none() : Value::string(code_.name);
    } else if (name == "arguments") {
        std::vector<Value> names;
        for (const syntax::Name* parameter : code_.parameters) names.push_back(Value::string(parameter->name));
        found = runtime.tuple(names);
    } else if (name == "caller") {
        found = Value::boolean(code_.caller != code_.kNone);
    } else if (name == "catch_kwargs") {
        found = Value::boolean(code_.keywords != code_.kNone);
    } else if (name == "catch_varargs") {
        found = Value::boolean(code_.variadic != code_.kNone);
    } else {
        return false;
    }
    return true;
}

std::string MacroValue::print(Runtime&) const {
    return code_.name.empty() ? "<Macro anonymous>" : concat("<Macro '", code_.name, "'>");
}

bool FilteredItems::advance(Runtime& runtime, Value& item) {
    if (!own_) {
        own_ = interpreter_.activate(loop_.condition_function, around_);
        interpreter_.enter(loop_.condition_scope, *own_);
    }
    for (; items_.next(runtime, item); runtime.step())
        if (interpreter_.passes(loop_, *own_, item)) return true;
    return false;
}

bool LoopValue::advance(Value& item) {
    if (!after_.is(Kind::missing)) {
        item = after_;
        after_ = {};
    } else if (!items_->next(interpreter_.runtime(), item)) {
        return false;
    }
    ++index_;
    before_ = current_;
    current_ = item;
    return true;
}

bool LoopValue::peek() {
    Value item;
    if (after_.is(Kind::missing) && items_->next(interpreter_.runtime(), item)) after_ = item;
    return !after_.is(Kind::missing);
}

Integer LoopValue::size() {
    if (size_ >= 0) return size_;
    Runtime& runtime = interpreter_.runtime();
    if (!sized_.is(Kind::missing) && find_length(runtime, sized_, size_)) return size_;
    const std::vector<Value> rest = items_of(runtime, Value::iterator(items_));
    items_ = runtime.make<RestOfItems>(runtime.keep(rest));
    size_ = static_cast<Integer>(rest.size()) + index_ + 1 + (after_.is(Kind::missing) ? 0 : 1);
    return size_;
}

bool LoopValue::number(std::string_view name, Integer& found) {
    if (name == "index")
        found = index_ + 1;
    else if (name == "index0")
        found = index_;
    else if (name == "length")
        found = size();
    else if (name == "revindex")
        found = size() - index_;
    else if (name == "revindex0")
        found = size() - index_ - 1;
    else if (name == "depth")
        found = depth_ + 1;
    else if (name == "depth0")
        found = depth_;
    else
        return false;
    return true;
}

bool LoopValue::attribute(Runtime& runtime, std::string_view name, Value& found) {
    Integer count = 0;
    if (number(name, count))
        found = Value::integer(count);
    else if (name == "first")
        found = Value::boolean(index_ == 0);
    else if (name == "last")
        found = Value::boolean(!peek());
    else if (name == "previtem")
        found = index_ == 0 ? Value::undefined(Undefinedness::hint, "there is no previous item") : before_;
    else if (name == "nextitem")
        found = peek() ? after_ : Value::undefined(Undefinedness::hint, "there is no next item");
    else if (name == "cycle" || name == "changed")
        found = Value::object(runtime.make<LoopMethod>(*this, name == "cycle"));
    else
        return false;
    return true;
}

Value LoopValue::call(Runtime& runtime, const Arguments& arguments) {
    const Parameters parameters(runtime, "loop", arguments, {"iterable"}, 1);
    if (!loop_.recursive) refuse(runtime, "only a loop that is marked recursive can be called");
    return interpreter_.recurse(loop_, around_, parameters[0], depth_ + 1);
}

std::string LoopValue::print(Runtime&) const {
    // Asking for the length may read ahead.
    auto& self = const_cast<LoopValue&>(*this);
    return concat("<LoopContext ", represent_integer(index_ + 1), "/", represent_integer(self.size()), ">");
}

Value LoopValue::cycle(const Arguments& arguments) const {
    if (arguments.positional.empty()) refuse(interpreter_.runtime(), "loop.cycle needs at least one item");
    return arguments.positional[static_cast<size_t>(index_) % arguments.positional.size()];
}

Value LoopValue::changed(const Arguments& arguments) {
    Runtime& runtime = interpreter_.runtime();
    const Value now = runtime.tuple(arguments.positional);
    if (last_changed_.is(Kind::tuple) && equal(runtime, last_changed_, now)) return Value::boolean(false);
    last_changed_ = now;
    return Value::boolean(true);
}

}  // namespace llmc::jinja
