#include "llmc/jinja/syntax/scopes.h"

#include <algorithm>
#include <set>

#include "llmc/jinja/syntax/symbols.h"
#include "llmc/jinja/syntax/walk.h"

namespace llmc::jinja::syntax {
namespace {

// Where a node stands.
struct Place {
    const Symbols& symbols;
    bool conditional = false;  // an unknown filter is an error only when it runs
    bool in_loop = false;
};

class Resolver {
  public:
    explicit Resolver(Program& program) : program_(program) {}

    void run() {
        FunctionSlots slots(program_.function, nullptr);
        Symbols symbols(nullptr, slots);
        symbols.analyze(program_.body);
        program_.scope = symbols.scope();
        body(program_.body, {symbols});
    }

  private:
    void body(const Body& body, const Place& place) {
        for (Statement* statement : body) resolve(*statement, place);
    }

    void resolve(Statement& statement, const Place& place) {
        switch (statement.kind) {
            case Statement::Kind::print:
                return expression(static_cast<Print&>(statement).expression, place);
            case Statement::Kind::branch:
                return branch(static_cast<Branch&>(statement), place);
            case Statement::Kind::loop:
                return loop(static_cast<Loop&>(statement), place);
            case Statement::Kind::set:
                return set(static_cast<Set&>(statement), place);
            case Statement::Kind::set_block:
                return set_block(static_cast<SetBlock&>(statement), place);
            case Statement::Kind::macro: {
                auto& node = static_cast<Macro&>(statement);
                code(node.code, node.position, place);
                return name(*node.target, place);
            }
            case Statement::Kind::call_block: {
                auto& node = static_cast<CallBlock&>(statement);
                code(node.code, node.position, place);
                return expression(node.call, place);
            }
            case Statement::Kind::generation:
                return code(static_cast<Generation&>(statement).code, statement.position, place);
            case Statement::Kind::filter_block:
                return filter_block(static_cast<FilterBlock&>(statement), place);
            case Statement::Kind::with:
                return with(static_cast<With&>(statement), place);
            case Statement::Kind::text:
            case Statement::Kind::break_loop:
            case Statement::Kind::continue_loop:
            case Statement::Kind::refused:
                return;
        }
    }

    void name(Name& name, const Place& place) const {
        if (!place.symbols.find(name.name, place.symbols.function(), name.variable))
            program_.fail_at(name.position, concat("the name '", name.name, "' cannot be used at this place"));
    }

    void expression(Expression* expression, const Place& place) const {
        if (!expression) return;
        if (expression->kind == Expression::Kind::name) return name(static_cast<Name&>(*expression), place);
        Place inside = place;
        if (expression->kind == Expression::Kind::conditional) inside.conditional = true;
        check_library(*expression, place);
        for (Expression* part : parts(*expression)) this->expression(part, inside);
    }

    void check_library(const Expression& expression, const Place& place) const {
        if (place.conditional) return;
        if (expression.kind == Expression::Kind::filter && !static_cast<const FilterUse&>(expression).filter)
            program_.fail_at(expression.position,
                             concat("there is no filter '", static_cast<const FilterUse&>(expression).name, "'"));
        if (expression.kind == Expression::Kind::test && !static_cast<const TestUse&>(expression).test)
            program_.fail_at(expression.position,
                             concat("there is no test '", static_cast<const TestUse&>(expression).name, "'"));
    }

    void target(Expression* target, const Place& place) const {
        if (target->kind == Expression::Kind::name) {
            auto& node = static_cast<Name&>(*target);
            if (place.in_loop && node.name == "loop")
                program_.fail_at(node.position, "'loop' cannot be assigned to inside a loop");
            return name(node, place);
        }
        if (target->kind == Expression::Kind::attribute_of_name) {
            auto& node = static_cast<AttributeOfName&>(*target);
            if (!place.symbols.find(node.name, place.symbols.function(), node.variable))
                program_.fail_at(node.position, concat("the name '", node.name, "' cannot be used at this place"));
            return;
        }
        for (Expression* part : parts(*target)) this->target(part, place);
    }

    void branch(Branch& node, Place place) {
        place.conditional = true;
        for (auto& one : node.cases) {
            expression(one.condition, place);
            body(one.body, place);
        }
        body(node.otherwise, place);
    }

    void set(Set& node, const Place& place) const {
        expression(node.value, place);
        target(node.target, place);
    }

    void set_block(SetBlock& node, const Place& place) {
        Symbols symbols(&place.symbols, place.symbols.function());
        symbols.analyze(node.body);
        node.scope = symbols.scope();
        const Place inside{symbols, false, place.in_loop};
        body(node.body, inside);
        expression(node.filter, inside);
        target(node.target, place);
    }

    void filter_block(FilterBlock& node, const Place& place) {
        Symbols symbols(&place.symbols, place.symbols.function());
        symbols.analyze(node.body);
        symbols.analyze(node.filter);
        node.scope = symbols.scope();
        const Place inside{symbols, false, place.in_loop};
        body(node.body, inside);
        expression(node.filter, inside);
    }

    void with(With& node, const Place& place) {
        Symbols symbols(&place.symbols, place.symbols.function());
        for (const Expression* target : node.targets) symbols.declare_parameters(target);
        symbols.analyze(node.body);
        node.scope = symbols.scope();
        const Place inside{symbols, false, place.in_loop};
        for (Expression* value : node.values) expression(value, place);
        for (Expression* one : node.targets) target(one, {symbols});
        body(node.body, inside);
    }

    void loop(Loop& node, const Place& place) {
        expression(node.iterable, place);
        visit_names(node.body, [&](std::string_view name, bool reads) {
            if (reads && name == "loop") node.extended = true;
        });
        node.extended = node.extended || node.recursive;
        FunctionSlots own(node.function, &place.symbols.function());
        FunctionSlots& slots = node.recursive ? own : place.symbols.function();

        Symbols inside(&place.symbols, slots);
        if (node.extended) node.loop_slot = inside.declare_parameter("loop");
        inside.declare_parameters(node.target);
        inside.analyze(node.body);
        node.body_scope = inside.scope();
        target(node.target, {inside, false, true});
        body(node.body, {inside, false, true});

        Symbols otherwise(&place.symbols, slots);
        otherwise.analyze(node.otherwise);
        node.otherwise_scope = otherwise.scope();
        body(node.otherwise, {otherwise, false, true});
        if (node.condition) loop_condition(node, place);
    }

    // The condition runs in a function of its own, which has the loop's variables as its own.
    void loop_condition(Loop& node, const Place& place) {
        FunctionSlots slots(node.condition_function, &place.symbols.function());
        Symbols symbols(&place.symbols, slots);
        symbols.declare_parameters(node.target);
        symbols.analyze(node.condition);
        node.condition_scope = symbols.scope();
        node.condition_target = copy_of_target(*node.target);
        target(node.condition_target, {symbols, false, true});
        expression(node.condition, {symbols, false, true});
    }

    Expression* copy_of_target(const Expression& target) {
        if (target.kind == Expression::Kind::name)
            return program_.make<Name>(target.position, static_cast<const Name&>(target).name);
        auto* copy = program_.make<Sequence>(target.kind, target.position);
        for (const Expression* part : parts(target)) copy->items.push_back(copy_of_target(*part));
        return copy;
    }

    void code(MacroCode& code, Position position, const Place& place) {
        FunctionSlots slots(code.function, &place.symbols.function());
        Symbols symbols(&place.symbols, slots);
        for (const Name* parameter : code.parameters)
            code.parameter_slots.push_back(symbols.declare_parameter(parameter->name));
        for (const Expression* value : code.defaults) symbols.analyze(value);
        symbols.analyze(code.body);
        special_parameters(code, position, symbols);
        code.scope = symbols.scope();
        const Place inside{symbols, false, place.in_loop};
        for (Expression* value : code.defaults) expression(value, inside);
        body(code.body, inside);
    }

    // caller, kwargs and varargs, where the body reads them before it assigns them.
    void special_parameters(MacroCode& code, Position position, Symbols& symbols) const {
        std::set<std::string_view> sought{"caller", "kwargs", "varargs"}, used;
        visit_names(code.body, [&](std::string_view name, bool reads) {
            if (reads && sought.contains(name))
                used.insert(name);
            else
                sought.erase(name);
        });
        const auto parameter = [&](std::string_view name) {
            return std::ranges::find(code.parameters, name, [](const Name* p) { return p->name; }) -
                   code.parameters.begin();
        };
        const auto size = static_cast<std::ptrdiff_t>(code.parameters.size());
        const auto defaults = static_cast<std::ptrdiff_t>(code.defaults.size());
        if (used.contains("caller")) {
            if (parameter("caller") == size)
                code.caller = symbols.declare_parameter("caller");
            else if (parameter("caller") < size - defaults)
                program_.fail_at(position, "a parameter named caller needs a default");
        }
        if (used.contains("kwargs") && parameter("kwargs") == size) code.keywords = symbols.declare_parameter("kwargs");
        if (used.contains("varargs") && parameter("varargs") == size)
            code.variadic = symbols.declare_parameter("varargs");
    }

    Program& program_;
};

}  // namespace

void resolve_names(Program& program) {
    Resolver(program).run();
}

}  // namespace llmc::jinja::syntax
