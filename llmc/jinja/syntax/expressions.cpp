// Expressions, from the loosest operator to the tightest, in the order in which jinja2 parses them.
#include <algorithm>
#include <array>
#include <optional>

#include "llmc/jinja/syntax/parser.h"

namespace llmc::jinja::syntax {
namespace {

using Kind = Expression::Kind;

// A chain of operators makes a tree of that height. Python gives up at a few hundred.
constexpr int kMostHeight = 400;

std::optional<Relation> relation(const Token& token) {
    if (token.is_symbol("==")) return Relation::equal;
    if (token.is_symbol("!=")) return Relation::not_equal;
    if (token.is_symbol("<")) return Relation::less;
    if (token.is_symbol("<=")) return Relation::less_equal;
    if (token.is_symbol(">")) return Relation::greater;
    if (token.is_symbol(">=")) return Relation::greater_equal;
    if (token.is_name("in")) return Relation::in;
    return std::nullopt;
}

std::optional<Arithmetic> factor_operation(const Token& token) {
    if (token.is_symbol("*")) return Arithmetic::multiply;
    if (token.is_symbol("/")) return Arithmetic::divide;
    if (token.is_symbol("//")) return Arithmetic::floor_divide;
    if (token.is_symbol("%")) return Arithmetic::modulo;
    return std::nullopt;
}

bool is_constant_name(std::string_view name) {
    constexpr std::array<std::string_view, 6> kNames{"true", "false", "none", "True", "False", "None"};
    return std::ranges::find(kNames, name) != kNames.end();
}

Value constant_of(std::string_view name) {
    if (name == "none" || name == "None") return Value::none();
    return Value::boolean(name == "true" || name == "True");
}

}  // namespace

void ExpressionParser::grow(Expression* node, const Expression* part) const {
    if (!part) return;
    node->height = std::max<uint16_t>(node->height, static_cast<uint16_t>(part->height + 1));
    if (node->height > kMostHeight) program_.fail_at(node->position, "the expression has too many parts");
}

Expression* ExpressionParser::expression(bool with_conditional) {
    return with_conditional ? conditional() : either();
}

Expression* ExpressionParser::conditional() {
    const TokenStream::Nesting nesting(stream_);
    Expression* yes = either();
    while (stream_.at_name("if")) {
        const Position position = stream_.take().position;
        Expression* condition = either();
        Expression* no = stream_.skip_name("else") ? conditional() : nullptr;
        yes = finish(program_.make<Conditional>(position, condition, yes, no), {condition, yes, no});
    }
    return yes;
}

Expression* ExpressionParser::either() {
    Expression* left = both();
    while (stream_.at_name("or")) {
        const Position position = stream_.take().position;
        Expression* right = both();
        left = finish(program_.make<Logical>(Kind::either, position, left, right), {left, right});
    }
    return left;
}

Expression* ExpressionParser::both() {
    Expression* left = negation();
    while (stream_.at_name("and")) {
        const Position position = stream_.take().position;
        Expression* right = negation();
        left = finish(program_.make<Logical>(Kind::both, position, left, right), {left, right});
    }
    return left;
}

Expression* ExpressionParser::negation() {
    if (!stream_.at_name("not")) return comparison();
    const TokenStream::Nesting nesting(stream_);
    const Position position = stream_.take().position;
    Expression* operand = negation();
    return finish(program_.make<Unary>(Kind::negation, position, operand), {operand});
}

Expression* ExpressionParser::comparison() {
    Expression* first = sum();
    Comparison* node = nullptr;
    for (;;) {
        const Token& token = stream_.current();
        std::optional<Relation> found = relation(token);
        if (!found && token.is_name("not") && stream_.next().is_name("in")) {
            stream_.take();
            found = Relation::not_in;
        }
        if (!found) return node ? static_cast<Expression*>(node) : first;
        stream_.take();
        if (!node) node = finish(program_.make<Comparison>(token.position, first), {first});
        node->links.push_back({*found, sum()});
        grow(node, node->links.back().operand);
    }
}

Expression* ExpressionParser::sum() {
    Expression* left = concatenation();
    while (stream_.at_symbol("+") || stream_.at_symbol("-")) {
        const Token& token = stream_.take();
        Expression* right = concatenation();
        const Arithmetic operation = token.is_symbol("+") ? Arithmetic::add : Arithmetic::subtract;
        left = finish(program_.make<Calculation>(token.position, operation, left, right), {left, right});
    }
    return left;
}

Expression* ExpressionParser::concatenation() {
    Expression* first = product();
    if (!stream_.at_symbol("~")) return first;
    auto* node = finish(program_.make<Concatenation>(stream_.current().position), {first});
    node->parts.push_back(first);
    while (stream_.skip_symbol("~")) {
        node->parts.push_back(product());
        grow(node, node->parts.back());
    }
    return node;
}

Expression* ExpressionParser::product() {
    Expression* left = power();
    while (const auto operation = factor_operation(stream_.current())) {
        const Position position = stream_.take().position;
        Expression* right = power();
        left = finish(program_.make<Calculation>(position, *operation, left, right), {left, right});
    }
    return left;
}

Expression* ExpressionParser::power() {
    Expression* left = sign();
    while (stream_.at_symbol("**")) {
        const Position position = stream_.take().position;
        Expression* right = sign();
        left = finish(program_.make<Calculation>(position, Arithmetic::power, left, right), {left, right});
    }
    return left;
}

Expression* ExpressionParser::sign(bool with_filters) {
    Expression* node = nullptr;
    if (stream_.at_symbol("-") || stream_.at_symbol("+")) {
        const TokenStream::Nesting nesting(stream_);
        const Token& token = stream_.take();
        Expression* operand = sign(false);
        node = finish(program_.make<Unary>(Kind::sign, token.position, operand, token.is_symbol("-")), {operand});
    } else {
        node = primary();
    }
    node = postfix(node);
    return with_filters ? filters_and_tests(node) : node;
}

Expression* ExpressionParser::primary(bool with_attributes) {
    const Token& token = stream_.current();
    switch (token.kind) {
        case Token::Kind::name:
            return word(with_attributes);
        case Token::Kind::string:
            return string();
        case Token::Kind::integer:
        case Token::Kind::floating:
            stream_.take();
            return program_.make<Constant>(token.position, token.value);
        default:
            break;
    }
    if (token.is_symbol("[")) return list();
    if (token.is_symbol("{")) return dict();
    if (!token.is_symbol("("))
        stream_.fail(token, concat("an expression should stand where ", describe(token), " stands"));
    const TokenStream::Nesting nesting(stream_);
    stream_.take();
    Expression* inside = tuple_of(Items::expressions, true);
    stream_.expect_symbol(")");
    return inside;
}

// jinja2 gives that name to the blocks of a template.
void ExpressionParser::refuse_self(const Token& name) const {
    if (name.text == "self")
        stream_.fail(name,
                     "the name 'self' stands for a template's blocks, which are not known here; use another name");
}

Expression* ExpressionParser::word(bool with_attributes) {
    const Token& token = stream_.take();
    refuse_self(token);
    if (is_constant_name(token.text)) return program_.make<Constant>(token.position, constant_of(token.text));
    if (with_attributes && stream_.skip_symbol("."))
        return program_.make<AttributeOfName>(token.position, token.text, stream_.expect_name().text);
    return program_.make<Name>(token.position, token.text);
}

Expression* ExpressionParser::string() {
    const Token& first = stream_.take();
    if (stream_.current().kind != Token::Kind::string)
        return program_.make<Constant>(first.position, Value::string(first.text));
    std::string& joined = program_.strings.emplace_back(first.text);  // 'a' 'b' is 'ab'
    while (stream_.current().kind == Token::Kind::string) joined += stream_.take().text;
    return program_.make<Constant>(first.position, Value::string(joined));
}

Expression* ExpressionParser::list() {
    const TokenStream::Nesting nesting(stream_);
    auto* node = program_.make<Sequence>(Kind::list, stream_.take().position);
    while (!stream_.at_symbol("]")) {
        if (!node->items.empty()) stream_.expect_symbol(",");
        if (stream_.at_symbol("]")) break;
        node->items.push_back(expression());
        grow(node, node->items.back());
    }
    stream_.expect_symbol("]");
    return node;
}

Expression* ExpressionParser::dict() {
    const TokenStream::Nesting nesting(stream_);
    auto* node = program_.make<DictDisplay>(stream_.take().position);
    while (!stream_.at_symbol("}")) {
        if (!node->pairs.empty()) stream_.expect_symbol(",");
        if (stream_.at_symbol("}")) break;
        Expression* key = expression();
        stream_.expect_symbol(":");
        node->pairs.push_back({key, expression()});
        finish(node, {key, node->pairs.back().value});
    }
    stream_.expect_symbol("}");
    return node;
}

bool ExpressionParser::tuple_ends() const {
    const Token& token = stream_.current();
    return token.kind == Token::Kind::variable_end || token.kind == Token::Kind::block_end || token.is_symbol(")");
}

Expression* ExpressionParser::tuple(bool with_conditional) {
    return tuple_of(with_conditional ? Items::expressions : Items::unconditional);
}

Expression* ExpressionParser::tuple_of(Items items, bool parenthesized) {
    const Token& begin = stream_.current();
    const auto item = [&]() -> Expression* {
        switch (items) {
            case Items::expressions:
                return expression(true);
            case Items::unconditional:
                return expression(false);
            case Items::targets:
                return primary(false);
            case Items::attribute_targets:
                return primary(true);
        }
        return nullptr;
    };
    if (tuple_ends()) {
        if (!parenthesized)
            stream_.fail(begin, concat("an expression should stand where ", describe(begin), " stands"));
        return program_.make<Sequence>(Kind::tuple, begin.position);
    }
    Expression* first = item();
    if (!stream_.at_symbol(",")) return first;
    auto* node = finish(program_.make<Sequence>(Kind::tuple, begin.position), {first});
    node->items.push_back(first);
    while (stream_.skip_symbol(",") && !tuple_ends()) {
        node->items.push_back(item());
        grow(node, node->items.back());
    }
    return node;
}

void ExpressionParser::check_assignable(const Expression* target) const {
    if (target->kind == Kind::name || target->kind == Kind::attribute_of_name) return;
    if (target->kind != Kind::tuple) program_.fail_at(target->position, "only a name can be assigned to");
    for (const Expression* item : static_cast<const Sequence*>(target)->items) check_assignable(item);
}

Expression* ExpressionParser::target(bool with_attributes) {
    Expression* target = tuple_of(with_attributes ? Items::attribute_targets : Items::targets);
    check_assignable(target);
    return target;
}

Name* ExpressionParser::target_name() {
    const Token& token = stream_.expect_name();
    refuse_self(token);
    if (is_constant_name(token.text)) stream_.fail(token, concat(token.text, " cannot be assigned to"));
    return program_.make<Name>(token.position, token.text);
}

}  // namespace llmc::jinja::syntax
