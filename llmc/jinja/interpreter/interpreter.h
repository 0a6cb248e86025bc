// Runs a template: walks over its statements, evaluates its expressions, and collects what it writes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "llmc/jinja/syntax/nodes.h"
#include "llmc/jinja/values/dict.h"
#include "llmc/jinja/values/runtime.h"

namespace llmc::jinja {

// The variables of a function that runs, and of the function around it, where it was defined.
struct Activation {
    Activation* outer;
    std::span<Value> slots;
};

// What a template writes. A part of it may be captured: it then becomes a value instead.
class Output {
  public:
    explicit Output(Runtime& runtime) : runtime_(runtime) {}

    void write(std::string_view text) {
        if (text_.size() + text.size() > runtime_.options().max_output_bytes) too_long();
        runtime_.work(text.size());
        text_ += text;
    }
    // Captures what is written from here on; returns what end_capture() wants.
    size_t begin_capture() {
        if (captures_++ == 0) outermost_ = text_.size();
        return text_.size();
    }
    // What was written since; it is no part of the output any more.
    std::string_view end_capture(size_t begin);
    // How much of the rendering's text is there for good.
    size_t finished() const { return captures_ == 0 ? text_.size() : outermost_; }
    std::string take() { return std::move(text_); }

  private:
    [[noreturn]] void too_long() const;

    Runtime& runtime_;
    std::string text_;
    int captures_ = 0;
    size_t outermost_ = 0;  // where the outermost capture begins
};

class Interpreter {
  public:
    // `variables` is what the template is given.
    Interpreter(const syntax::Program& program, Runtime& runtime, const Dict& variables)
        : program_(program), runtime_(runtime), variables_(variables), output_(runtime) {}

    Rendering run();

    Runtime& runtime() { return runtime_; }

    // Calls a macro whose definition stands in `around`, and returns what it writes.
    Value call_macro(const syntax::MacroCode& code, Activation* around, const Arguments& arguments);
    // Runs a recursive loop over other items, one level deeper, and returns what it writes.
    Value recurse(const syntax::Loop& loop, Activation* around, const Value& iterable, int depth);
    // Whether an item passes the condition of a loop; it becomes what the loop's target makes of it.
    bool passes(const syntax::Loop& loop, Activation& activation, Value& item);
    Activation* activate(const syntax::Function& function, Activation* outer);
    void enter(const syntax::Scope& scope, Activation& activation);

  private:
    enum class Flow : uint8_t { next, break_loop, continue_loop };

    // statements.cpp
    Flow execute(const syntax::Body& body);
    Flow execute(const syntax::Statement& statement);
    Flow branch(const syntax::Branch& node);
    Flow loop(const syntax::Loop& node);
    Flow loop_over(const syntax::Loop& node, const Value& iterable, int depth);
    Flow with(const syntax::With& node);
    void set(const syntax::Set& node);
    Flow set_block(const syntax::SetBlock& node);
    Flow filter_block(const syntax::FilterBlock& node);
    void call_block(const syntax::CallBlock& node);
    void generation(const syntax::Generation& node);
    void print(const Value& value);
    void write(const Value& value);
    // Runs a body with its output captured.
    Flow capture(const syntax::Body& body, std::string_view& text);
    void leave(const syntax::Scope& scope);
    Value look_up(std::string_view name);
    void assign(const syntax::Expression& target, const Value& value);
    void assign_attribute(const syntax::AttributeOfName& target, const Value& value);
    void unpack(const syntax::Sequence& target, const Value& value);
    void check_namespaces(const syntax::Expression& target);
    Value macro(const syntax::MacroCode& code);
    void bind_parameters(const syntax::MacroCode& code, const Arguments& arguments);

    // expressions.cpp
    Value evaluate(const syntax::Expression& expression);
    Value evaluate_or_none(const syntax::Expression* expression);
    Value name(const syntax::Name& node);
    Value sequence(const syntax::Sequence& node);
    Value dict(const syntax::DictDisplay& node);
    Value conditional(const syntax::Conditional& node);
    Value logical(const syntax::Logical& node);
    Value unary(const syntax::Unary& node);
    Value concatenation(const syntax::Concatenation& node);
    bool comparison(const syntax::Comparison& node);
    Value slice(const syntax::Slice& node);
    Value call(const syntax::Call& node, const Value* caller = nullptr);
    Value call_value(const Value& callee, const Arguments& arguments);
    Value filter(const syntax::FilterUse& node, const Value* content = nullptr);
    bool test(const syntax::TestUse& node);

    // What a call is made with, evaluated.
    struct Evaluated {
        std::vector<Value> positional;
        std::vector<Keyword> keywords;
        Arguments arguments() const { return {positional, keywords}; }
    };
    Evaluated arguments(const syntax::CallArguments& arguments);
    void spread_keywords(const Value& value, std::vector<Keyword>& keywords);

    Value& slot(syntax::Variable variable) {
        Activation* activation = activation_;
        for (uint32_t i = 0; i < variable.hops; ++i) activation = activation->outer;
        return activation->slots[variable.slot];
    }

    const syntax::Program& program_;
    Runtime& runtime_;
    const Dict& variables_;
    Output output_;
    // A generation block, as transformers counts it: from the end of what was written for good, so many characters.
    // That is where it stands, unless it stands in a macro or another block that captures.
    struct Generated {
        size_t begin, characters;
    };
    std::vector<Generated> generation_;
    Activation* activation_ = nullptr;
};

}  // namespace llmc::jinja
