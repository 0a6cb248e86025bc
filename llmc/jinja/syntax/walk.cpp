#include "llmc/jinja/syntax/walk.h"

namespace llmc::jinja::syntax {
namespace {

void append(std::vector<Expression*>& parts, const CallArguments& arguments) {
    parts.insert(parts.end(), arguments.positional.begin(), arguments.positional.end());
    for (const auto& named : arguments.named) parts.push_back(named.value);
    parts.push_back(arguments.spread);
    parts.push_back(arguments.spread_named);
}

std::vector<Expression*> parts_of_operation(const Expression& expression) {
    switch (expression.kind) {
        case Expression::Kind::conditional: {
            const auto& node = static_cast<const Conditional&>(expression);
            return {node.condition, node.yes, node.no};
        }
        case Expression::Kind::both:
        case Expression::Kind::either: {
            const auto& node = static_cast<const Logical&>(expression);
            return {node.left, node.right};
        }
        case Expression::Kind::negation:
        case Expression::Kind::sign:
            return {static_cast<const Unary&>(expression).operand};
        case Expression::Kind::arithmetic: {
            const auto& node = static_cast<const Calculation&>(expression);
            return {node.left, node.right};
        }
        case Expression::Kind::concatenation:
            return static_cast<const Concatenation&>(expression).parts;
        case Expression::Kind::comparison: {
            const auto& node = static_cast<const Comparison&>(expression);
            std::vector<Expression*> parts{node.first};
            for (const auto& link : node.links) parts.push_back(link.operand);
            return parts;
        }
        default:
            return {};
    }
}

std::vector<Expression*> parts_of_access(const Expression& expression) {
    std::vector<Expression*> parts;
    switch (expression.kind) {
        case Expression::Kind::attribute:
            return {static_cast<const Attribute&>(expression).object};
        case Expression::Kind::item: {
            const auto& node = static_cast<const Item&>(expression);
            return {node.object, node.index};
        }
        case Expression::Kind::slice: {
            const auto& node = static_cast<const Slice&>(expression);
            return {node.object, node.start, node.stop, node.step};
        }
        case Expression::Kind::call: {
            const auto& node = static_cast<const Call&>(expression);
            parts.push_back(node.callee);
            append(parts, node.arguments);
            return parts;
        }
        case Expression::Kind::filter: {
            const auto& node = static_cast<const FilterUse&>(expression);
            parts.push_back(node.operand);
            append(parts, node.arguments);
            return parts;
        }
        case Expression::Kind::test: {
            const auto& node = static_cast<const TestUse&>(expression);
            parts.push_back(node.operand);
            append(parts, node.arguments);
            return parts;
        }
        default:
            return {};
    }
}

std::vector<Expression*> all_parts(const Expression& expression) {
    switch (expression.kind) {
        case Expression::Kind::tuple:
        case Expression::Kind::list:
            return static_cast<const Sequence&>(expression).items;
        case Expression::Kind::dict: {
            std::vector<Expression*> parts;
            for (const auto& pair : static_cast<const DictDisplay&>(expression).pairs)
                parts.insert(parts.end(), {pair.key, pair.value});
            return parts;
        }
        case Expression::Kind::attribute:
        case Expression::Kind::item:
        case Expression::Kind::slice:
        case Expression::Kind::call:
        case Expression::Kind::filter:
        case Expression::Kind::test:
            return parts_of_access(expression);
        default:
            return parts_of_operation(expression);
    }
}

class NameWalk {
  public:
    explicit NameWalk(const NameVisitor& visit) : visit_(visit) {}

    void body(const Body& body) const {
        for (const Statement* statement : body) walk(*statement);
    }

  private:
    void expression(const Expression* expression, bool reads = true) const {
        if (!expression) return;
        if (expression->kind == Expression::Kind::name) visit_(static_cast<const Name*>(expression)->name, reads);
        for (const Expression* part : parts(*expression)) this->expression(part, reads);
    }

    void code(const MacroCode& code) const {
        for (const Name* parameter : code.parameters) visit_(parameter->name, false);
        for (const Expression* value : code.defaults) expression(value);
        body(code.body);
    }

    void walk(const Statement& statement) const {
        switch (statement.kind) {
            case Statement::Kind::print:
                return expression(static_cast<const Print&>(statement).expression);
            case Statement::Kind::branch: {
                const auto& node = static_cast<const Branch&>(statement);
                for (const auto& one : node.cases) expression(one.condition), body(one.body);
                return body(node.otherwise);
            }
            case Statement::Kind::loop: {
                const auto& node = static_cast<const Loop&>(statement);
                expression(node.target, false), expression(node.iterable);
                body(node.body), body(node.otherwise);
                return expression(node.condition);
            }
            case Statement::Kind::set: {
                const auto& node = static_cast<const Set&>(statement);
                return expression(node.target, false), expression(node.value);
            }
            case Statement::Kind::set_block: {
                const auto& node = static_cast<const SetBlock&>(statement);
                return expression(node.target, false), expression(node.filter), body(node.body);
            }
            case Statement::Kind::macro:
                return code(static_cast<const Macro&>(statement).code);
            case Statement::Kind::call_block:
                expression(static_cast<const CallBlock&>(statement).call);
                return code(static_cast<const CallBlock&>(statement).code);
            case Statement::Kind::generation:
                return code(static_cast<const Generation&>(statement).code);
            case Statement::Kind::filter_block:
                body(static_cast<const FilterBlock&>(statement).body);
                return expression(static_cast<const FilterBlock&>(statement).filter);
            case Statement::Kind::with: {
                const auto& node = static_cast<const With&>(statement);
                for (const Expression* target : node.targets) expression(target, false);
                for (const Expression* value : node.values) expression(value);
                return body(node.body);
            }
            case Statement::Kind::text:
            case Statement::Kind::break_loop:
            case Statement::Kind::continue_loop:
            case Statement::Kind::refused:
                return;
        }
    }

    const NameVisitor& visit_;
};

}  // namespace

std::vector<Expression*> parts(const Expression& expression) {
    std::vector<Expression*> found = all_parts(expression);
    std::erase(found, nullptr);
    return found;
}

void visit_names(const Body& body, const NameVisitor& visit) {
    NameWalk(visit).body(body);
}

}  // namespace llmc::jinja::syntax
