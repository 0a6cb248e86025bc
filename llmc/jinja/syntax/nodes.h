// What a template is parsed into: statements and expressions, owned by the Program, that refer to each other by
// pointers. Names are resolved to slots of activations by scopes.cpp, before anything runs.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "llmc/jinja/syntax/expression_nodes.h"
#include "llmc/jinja/values/runtime.h"

namespace llmc::jinja::syntax {

// What a scope does when it is entered: it sets its own slots, so that an assignment inside never reaches outside.
struct Load {
    enum class From : uint8_t {
        context,   // the variable that the caller passed, or a global
        variable,  // the same name further out
        nothing,
    };
    uint32_t slot;
    From from;
    Variable source;        // for `variable`
    std::string_view name;  // for `context`
};

// A scope. Its slots belong to the running activation.
struct Scope {
    std::vector<Load> loads;
    std::vector<uint32_t> slots;  // emptied when it is left
};

// What runs in an activation of its own: the template, a macro, a recursive loop, the condition of a loop.
struct Function {
    uint32_t slots = 0;
};

struct Statement {
    enum class Kind : uint8_t {
        text,
        print,
        branch,
        loop,
        set,
        set_block,
        macro,
        call_block,
        filter_block,
        with,
        generation,
        break_loop,
        continue_loop,
        refused,
    };
    Statement(Kind kind, Position position) : kind(kind), position(position) {}
    virtual ~Statement() = default;
    Statement(const Statement&) = delete;
    Statement& operator=(const Statement&) = delete;

    Kind kind;
    Position position;
};

using Body = std::vector<Statement*>;

// What stands between the tags.
struct Text : Statement {
    Text(Position position, std::string_view text) : Statement(Kind::text, position), text(text) {}
    std::string_view text;
};

struct Print : Statement {
    Print(Position position, Expression* expression) : Statement(Kind::print, position), expression(expression) {}
    Expression* expression;
};

struct Branch : Statement {
    explicit Branch(Position position) : Statement(Kind::branch, position) {}
    struct Case {
        Expression* condition;
        Body body;
    };
    std::vector<Case> cases;
    Body otherwise;
};

struct Loop : Statement {
    explicit Loop(Position position) : Statement(Kind::loop, position) {}
    Expression* target = nullptr;
    Expression* iterable = nullptr;
    Expression* condition = nullptr;  // nullptr: none
    bool recursive = false;
    Body body, otherwise;

    bool extended = false;  // the variable `loop` is used
    uint32_t loop_slot = 0;
    Scope body_scope, otherwise_scope, condition_scope;
    // The target in the activation of the condition.
    Expression* condition_target = nullptr;
    Function condition_function, function;  // the latter if recursive
};

struct Set : Statement {
    Set(Position position, Expression* target) : Statement(Kind::set, position), target(target) {}
    Expression* target;
    Expression* value = nullptr;
};

struct SetBlock : Statement {
    SetBlock(Position position, Expression* target) : Statement(Kind::set_block, position), target(target) {}
    Expression* target;
    Expression* filter = nullptr;  // the outermost FilterUse; nullptr: none
    Body body;
    Scope scope;
};

// A macro, or the body of a call or generation block, which is called as `caller`.
struct MacroCode {
    std::string_view name;  // of a macro
    std::vector<Name*> parameters;
    std::vector<Expression*> defaults;  // of the last parameters
    Body body;

    Function function;
    Scope scope;
    std::vector<uint32_t> parameter_slots;
    // Slots of the special variables; kNone: the body does not use it.
    static constexpr uint32_t kNone = UINT32_MAX;
    uint32_t caller = kNone, keywords = kNone, variadic = kNone;
};

struct Macro : Statement {
    explicit Macro(Position position) : Statement(Kind::macro, position) {}
    MacroCode code;
    Name* target = nullptr;
};

struct CallBlock : Statement {
    explicit CallBlock(Position position) : Statement(Kind::call_block, position) {}
    Call* call = nullptr;
    MacroCode code;
};

struct Generation : Statement {
    explicit Generation(Position position) : Statement(Kind::generation, position) {}
    MacroCode code;
};

struct FilterBlock : Statement {
    explicit FilterBlock(Position position) : Statement(Kind::filter_block, position) {}
    Expression* filter = nullptr;
    Body body;
    Scope scope;
};

struct With : Statement {
    explicit With(Position position) : Statement(Kind::with, position) {}
    std::vector<Expression*> targets, values;
    Body body;
    Scope scope;
};

struct Jump : Statement {
    Jump(Kind kind, Position position) : Statement(kind, position) {}
};

// include, import, extends: there is no other template. An error when it runs.
struct Refused : Statement {
    Refused(Position position, std::string_view tag) : Statement(Kind::refused, position), tag(tag) {}
    std::string_view tag;
};

struct Program {
    std::string name, source;  // line ends are "\n"; one at the end is cut off, as jinja2 does
    Body body;
    Function function;
    Scope scope;
    bool has_generation = false;

    template <class T, class... Arguments>
    T* make(Arguments&&... arguments) {
        auto node = std::make_unique<T>(std::forward<Arguments>(arguments)...);
        T* pointer = node.get();
        if constexpr (std::is_base_of_v<Expression, T>)
            expressions.push_back(std::move(node));
        else
            statements.push_back(std::move(node));
        return pointer;
    }
    std::vector<std::unique_ptr<Expression>> expressions;
    std::vector<std::unique_ptr<Statement>> statements;
    std::deque<std::string> strings;  // literals with escapes, joined literals

    [[noreturn]] void fail_at(Position position, const std::string& sentence) const {
        throw Error(place(name, source, position) + sentence);
    }
};

}  // namespace llmc::jinja::syntax
