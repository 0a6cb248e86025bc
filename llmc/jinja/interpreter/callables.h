// The values that only a running template has: macros, and the variable `loop`.
#pragma once

#include "llmc/jinja/interpreter/interpreter.h"

namespace llmc::jinja {

class MacroValue final : public Object {
  public:
    MacroValue(Interpreter& interpreter, const syntax::MacroCode& code, Activation* around)
        : interpreter_(interpreter), code_(code), around_(around) {}
    std::string_view type_name() const override { return "Macro"; }
    bool attribute(Runtime& runtime, std::string_view name, Value& found) override;
    Value call(Runtime&, const Arguments& arguments) override {
        return interpreter_.call_macro(code_, around_, arguments);
    }
    std::string print(Runtime&) const override;

  private:
    Interpreter& interpreter_;
    const syntax::MacroCode& code_;
    Activation* around_;
};

// The items of a loop that has a condition.
class FilteredItems final : public Iterator {
  public:
    FilteredItems(Interpreter& interpreter, const syntax::Loop& loop, Activation* around, Iterator& items)
        : interpreter_(interpreter), loop_(loop), around_(around), items_(items) {}

  private:
    bool advance(Runtime& runtime, Value& item) override;

    Interpreter& interpreter_;
    const syntax::Loop& loop_;
    Activation* around_;
    Activation* own_ = nullptr;  // made by the first next()
    Iterator& items_;
};

// The variable `loop`: counts the items, and knows its neighbours.
class LoopValue final : public Object {
  public:
    // `sized`: what is walked over, if its length can be asked for; `around`: for a recursive loop.
    LoopValue(Interpreter& interpreter, const syntax::Loop& loop, Activation* around, Iterator& items,
              const Value& sized, int depth)
        : interpreter_(interpreter), loop_(loop), around_(around), items_(&items), sized_(sized), depth_(depth) {}

    // Moves on to the next item; false: there is none.
    bool advance(Value& item);

    std::string_view type_name() const override { return "LoopContext"; }
    bool attribute(Runtime& runtime, std::string_view name, Value& found) override;
    Value call(Runtime& runtime, const Arguments& arguments) override;
    bool length(Runtime&, Integer& length) override {
        length = size();
        return true;
    }
    std::string print(Runtime& runtime) const override;

    Value cycle(const Arguments& arguments) const;
    Value changed(const Arguments& arguments);

  private:
    bool number(std::string_view name, Integer& found);
    bool peek();
    Integer size();

    Interpreter& interpreter_;
    const syntax::Loop& loop_;
    Activation* around_;
    Iterator* items_;
    Value sized_;
    int depth_;  // from 0
    Integer index_ = -1, size_ = -1;
    Value before_, current_, after_;
    Value last_changed_;
};

}  // namespace llmc::jinja
