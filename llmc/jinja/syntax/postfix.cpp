// What stands behind an operand: .attribute, [index], (arguments), | filter, is test.
#include <algorithm>

#include "llmc/jinja/syntax/parser.h"

namespace llmc::jinja::syntax {

Expression* ExpressionParser::postfix(Expression* operand) {
    for (;;) {
        if (stream_.at_symbol(".") || stream_.at_symbol("["))
            operand = subscript(operand);
        else if (stream_.at_symbol("("))
            operand = call(operand);
        else
            return operand;
    }
}

Expression* ExpressionParser::filters_and_tests(Expression* operand) {
    for (;;) {
        if (stream_.at_symbol("|"))
            operand = filters(operand);
        else if (stream_.at_name("is"))
            operand = test(operand);
        else if (stream_.at_symbol("("))
            operand = call(operand);
        else
            return operand;
    }
}

Expression* ExpressionParser::subscript(Expression* object) {
    const Token& token = stream_.take();
    if (token.is_symbol("[")) return subscripted(object);
    const Token& name = stream_.take();
    if (name.kind == Token::Kind::name)
        return finish(program_.make<Attribute>(name.position, object, name.text), {object});
    if (name.kind != Token::Kind::integer) stream_.fail(name, "a name or a number should stand behind the '.'");
    auto* index = program_.make<Constant>(name.position, name.value);
    return finish(program_.make<Item>(name.position, object, index), {object, index});
}

Expression* ExpressionParser::subscripted(Expression* object) {
    const TokenStream::Nesting nesting(stream_);
    const Token& begin = stream_.current();
    const auto part = [&]() -> Expression* {
        const bool absent = stream_.at_symbol(":") || stream_.at_symbol("]");
        return absent ? nullptr : expression();
    };
    Expression* start = part();
    if (stream_.at_symbol(":")) {
        auto* slice = program_.make<Slice>(begin.position);
        slice->object = object;
        slice->start = start;
        stream_.take();
        slice->stop = part();
        if (stream_.skip_symbol(":")) slice->step = part();
        stream_.expect_symbol("]");
        return finish(slice, {object, slice->start, slice->stop, slice->step});
    }
    Expression* index = start;
    if (!index || stream_.at_symbol(",")) {  // nothing, or several: a tuple
        auto* several = program_.make<Sequence>(Expression::Kind::tuple, begin.position);
        if (index) several->items.push_back(index);
        while (stream_.skip_symbol(",")) several->items.push_back(expression());
        for (const Expression* item : several->items) grow(several, item);
        index = several;
    }
    stream_.expect_symbol("]");
    return finish(program_.make<Item>(begin.position, object, index), {object, index});
}

Expression* ExpressionParser::call(Expression* callee) {
    auto* node = finish(program_.make<Call>(stream_.current().position, callee), {callee});
    node->arguments = arguments();
    for (const Expression* argument : node->arguments.positional) grow(node, argument);
    for (const auto& named : node->arguments.named) grow(node, named.value);
    return finish(node, {node->arguments.spread, node->arguments.spread_named});
}

CallArguments ExpressionParser::arguments() {
    const TokenStream::Nesting nesting(stream_);
    CallArguments result;
    stream_.expect_symbol("(");
    for (bool first = true; !stream_.at_symbol(")"); first = false) {
        if (!first) stream_.expect_symbol(",");
        if (stream_.at_symbol(")")) break;
        argument(result);
    }
    stream_.expect_symbol(")");
    return result;
}

void ExpressionParser::argument(CallArguments& arguments) {
    const Token& token = stream_.current();
    const auto in_order = [&](bool right) {
        if (!right) stream_.fail(token, "arguments come in this order: positional ones, named ones, *list, **dict");
    };
    if (stream_.skip_symbol("*")) {
        in_order(!arguments.spread && !arguments.spread_named);
        arguments.spread = expression();
    } else if (stream_.skip_symbol("**")) {
        in_order(!arguments.spread_named);
        arguments.spread_named = expression();
    } else if (token.kind == Token::Kind::name && stream_.next().is_symbol("=")) {
        in_order(!arguments.spread_named);
        stream_.take();
        stream_.take();
        const auto same_name = [&](const CallArguments::Named& named) { return named.name == token.text; };
        if (std::ranges::any_of(arguments.named, same_name))
            stream_.fail(token, concat(token.text, " is passed twice"));
        if (arguments.named.size() == kMostNamed) stream_.fail(token, "a call has more than 255 named arguments");
        arguments.named.push_back({token.text, expression()});
    } else {
        in_order(!arguments.spread && !arguments.spread_named && arguments.named.empty());
        arguments.positional.push_back(expression());
    }
}

std::string_view ExpressionParser::dotted_name() {
    std::string_view name = stream_.expect_name().text;
    if (!stream_.at_symbol(".")) return name;
    std::string& dotted = program_.strings.emplace_back(name);
    while (stream_.skip_symbol(".")) dotted.append(".").append(stream_.expect_name().text);
    return dotted;
}

Expression* ExpressionParser::filters(Expression* operand, bool begins_inline) {
    while (begins_inline || stream_.at_symbol("|")) {
        if (!begins_inline) stream_.take();
        begins_inline = false;
        const Position position = stream_.current().position;
        const std::string_view name = dotted_name();
        auto* node = finish(program_.make<FilterUse>(position, operand, name), {operand});
        if (stream_.at_symbol("(")) node->arguments = arguments();
        for (const Expression* argument : node->arguments.positional) grow(node, argument);
        for (const auto& named : node->arguments.named) grow(node, named.value);
        operand = finish(node, {node->arguments.spread, node->arguments.spread_named});
    }
    return operand;
}

Expression* ExpressionParser::test(Expression* operand) {
    stream_.take();
    const bool negated = stream_.skip_name("not");
    const Position position = stream_.current().position;
    const std::string_view name = dotted_name();
    auto* node = finish(program_.make<TestUse>(position, operand, name), {operand});
    const Token& token = stream_.current();
    const bool literal = token.kind == Token::Kind::string || token.kind == Token::Kind::integer ||
                         token.kind == Token::Kind::floating || token.is_symbol("[") || token.is_symbol("{");
    const bool word =
        token.kind == Token::Kind::name && !token.is_name("else") && !token.is_name("or") && !token.is_name("and");
    if (token.is_symbol("(")) {
        node->arguments = arguments();
    } else if (literal || word) {
        if (token.is_name("is")) stream_.fail(token, "tests cannot be chained with 'is'");
        const TokenStream::Nesting nesting(stream_);
        node->arguments.positional.push_back(postfix(primary()));
    }
    for (const Expression* argument : node->arguments.positional) grow(node, argument);
    for (const auto& named : node->arguments.named) grow(node, named.value);
    finish(node, {node->arguments.spread, node->arguments.spread_named});
    if (!negated) return node;
    return finish(program_.make<Unary>(Expression::Kind::negation, position, node), {node});
}

}  // namespace llmc::jinja::syntax
