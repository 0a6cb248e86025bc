// The expressions that a template is parsed into, owned by the Program (nodes.h), that refer to each other by pointers.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "llmc/jinja/filters/filters.h"
#include "llmc/jinja/library/tests.h"
#include "llmc/jinja/operators/compare.h"
#include "llmc/jinja/operators/operators.h"
#include "llmc/jinja/values/runtime.h"

namespace llmc::jinja::syntax {

// A variable: slot `slot` of the activation that is `hops` functions outside the running one.
struct Variable {
    uint32_t hops = 0, slot = 0;
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

}  // namespace llmc::jinja::syntax
