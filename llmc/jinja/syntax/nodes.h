// What a template is parsed into: statements and expressions, owned by the Program, that refer to each other by
// pointers. Names are resolved to slots of activations by scopes.cpp, before anything runs.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "llmc/jinja/library/filters.h"
#include "llmc/jinja/library/tests.h"
#include "llmc/jinja/values/operators.h"
#include "llmc/jinja/values/runtime.h"

namespace llmc::jinja::syntax {

// A variable: slot `slot` of the activation that is `hops` functions outside the running one.
struct Variable {
    uint32_t hops = 0, slot = 0;
};

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

// What runs in an activation of its own: the template, a macro, a block, a recursive loop, the condition of a loop.
struct Function {
    uint32_t slots = 0;
};

struct Expression {
    enum class Kind : uint8_t {
        constant,
        name,
        attribute_of_name,  // ns.name as the target of an assignment
        tuple,
        list,
        dict,
        conditional,
        both,
        either,
        negation,
        sign,
        arithmetic,
        concatenation,
        comparison,
        attribute,
        item,
        slice,
        call,
        filter,
        test,
    };
    Expression(Kind kind, Position position) : kind(kind), position(position) {}
    virtual ~Expression() = default;
    Expression(const Expression&) = delete;
    Expression& operator=(const Expression&) = delete;

    Kind kind;
    uint16_t height = 1;  // of the tree below
    Position position;
};

struct Constant : Expression {
    Constant(Position position, const Value& value) : Expression(Kind::constant, position), value(value) {}
    Value value;
};

struct Name : Expression {
    Name(Position position, std::string_view name) : Expression(Kind::name, position), name(name) {}
    std::string_view name;
    Variable variable;
};

struct AttributeOfName : Expression {
    AttributeOfName(Position position, std::string_view name, std::string_view attribute)
        : Expression(Kind::attribute_of_name, position), name(name), attribute(attribute) {}
    std::string_view name, attribute;
    Variable variable;
};

// (a, b) and [a, b].
struct Sequence : Expression {
    Sequence(Kind kind, Position position) : Expression(kind, position) {}
    std::vector<Expression*> items;
};

struct DictDisplay : Expression {
    explicit DictDisplay(Position position) : Expression(Kind::dict, position) {}
    struct Pair {
        Expression* key;
        Expression* value;
    };
    std::vector<Pair> pairs;
};

// yes if condition else no
struct Conditional : Expression {
    Conditional(Position position, Expression* condition, Expression* yes, Expression* no)
        : Expression(Kind::conditional, position), condition(condition), yes(yes), no(no) {}
    Expression* condition;
    Expression* yes;
    Expression* no;  // nullptr: undefined
};

// and, or
struct Logical : Expression {
    Logical(Kind kind, Position position, Expression* left, Expression* right)
        : Expression(kind, position), left(left), right(right) {}
    Expression* left;
    Expression* right;
};

// not x, -x, +x
struct Unary : Expression {
    Unary(Kind kind, Position position, Expression* operand, bool minus = false)
        : Expression(kind, position), operand(operand), minus(minus) {}
    Expression* operand;
    bool minus;
};

struct Calculation : Expression {
    Calculation(Position position, Arithmetic operation, Expression* left, Expression* right)
        : Expression(Kind::arithmetic, position), operation(operation), left(left), right(right) {}
    Arithmetic operation;
    Expression* left;
    Expression* right;
};

// a ~ b ~ c
struct Concatenation : Expression {
    explicit Concatenation(Position position) : Expression(Kind::concatenation, position) {}
    std::vector<Expression*> parts;
};

// a < b <= c
struct Comparison : Expression {
    Comparison(Position position, Expression* first) : Expression(Kind::comparison, position), first(first) {}
    enum class Relation : uint8_t { equal, not_equal, less, less_equal, greater, greater_equal, in, not_in };
    struct Link {
        Relation relation;
        Expression* operand;
    };
    Expression* first;
    std::vector<Link> links;
};

struct Attribute : Expression {
    Attribute(Position position, Expression* object, std::string_view name)
        : Expression(Kind::attribute, position), object(object), name(name) {}
    Expression* object;
    std::string_view name;
};

struct Item : Expression {
    Item(Position position, Expression* object, Expression* index)
        : Expression(Kind::item, position), object(object), index(index) {}
    Expression* object;
    Expression* index;
};

struct Slice : Expression {
    explicit Slice(Position position) : Expression(Kind::slice, position) {}
    Expression* object = nullptr;
    Expression* start = nullptr;  // these three: nullptr where nothing stands
    Expression* stop = nullptr;
    Expression* step = nullptr;
};

struct CallArguments {
    struct Named {
        std::string_view name;
        Expression* value;
    };
    std::vector<Expression*> positional;
    std::vector<Named> named;
    Expression* spread = nullptr;        // *list
    Expression* spread_named = nullptr;  // **dict
};

struct Call : Expression {
    Call(Position position, Expression* callee) : Expression(Kind::call, position), callee(callee) {}
    Expression* callee;
    CallArguments arguments;
};

struct FilterUse : Expression {
    FilterUse(Position position, Expression* operand, std::string_view name)
        : Expression(Kind::filter, position), operand(operand), name(name), filter(find_filter(name)) {}
    Expression* operand;  // nullptr: what the block holds
    std::string_view name;
    const Filter* filter;  // nullptr: unknown, which is an error when it runs
    CallArguments arguments;
};

struct TestUse : Expression {
    TestUse(Position position, Expression* operand, std::string_view name)
        : Expression(Kind::test, position), operand(operand), name(name), test(find_test(name)) {}
    Expression* operand;
    std::string_view name;
    const Test* test;  // nullptr: unknown
    CallArguments arguments;
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
        block,
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
    bool exported = false;  // at the top of the template: blocks see it
};

struct SetBlock : Statement {
    SetBlock(Position position, Expression* target) : Statement(Kind::set_block, position), target(target) {}
    Expression* target;
    Expression* filter = nullptr;  // the outermost FilterUse; nullptr: none
    Body body;
    Scope scope;
    bool exported = false;
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
    bool exported = false;
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

struct Block : Statement {
    explicit Block(Position position) : Statement(Kind::block, position) {}
    std::string_view name;
    Body body;
    Function function;
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
    bool has_generation = false, has_blocks = false;

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
