#include "llmc/jinja/syntax/parser.h"

#include <algorithm>
#include <array>
#include <utility>

#include "llmc/jinja/library/table.h"

namespace llmc::jinja::syntax {

std::string describe(const Token& token) {
    switch (token.kind) {
        case Token::Kind::text:
            return "text";
        case Token::Kind::variable_end:
        case Token::Kind::block_end:
            return "the end of the tag";
        case Token::Kind::end:
            return "the end of the template";
        case Token::Kind::string:
            return "a string";
        default:
            return concat("'", token.text, "'");
    }
}

bool TokenStream::skip_symbol(std::string_view symbol) {
    const bool found = at_symbol(symbol);
    if (found) take();
    return found;
}

bool TokenStream::skip_name(std::string_view name) {
    const bool found = at_name(name);
    if (found) take();
    return found;
}

const Token& TokenStream::expect_symbol(std::string_view symbol) {
    if (!at_symbol(symbol))
        fail(current(), concat("a '", symbol, "' should stand where ", describe(current()), " stands"));
    return take();
}

const Token& TokenStream::expect_name() {
    if (current().kind != Token::Kind::name)
        fail(current(), concat("a name should stand where ", describe(current()), " stands"));
    return take();
}

void TokenStream::expect(Token::Kind kind, std::string_view what) {
    if (current().kind != kind) fail(current(), concat(what, " should stand where ", describe(current()), " stands"));
    take();
}

TokenStream::Nesting::Nesting(TokenStream& stream) : stream_(stream) {
    if (++stream_.depth_ <= kMostNesting) return;
    --stream_.depth_;  // the destructor of this level will not run
    stream_.fail(stream_.current(), "the template is nested too deeply");
}

namespace {

using Kind = Statement::Kind;

class StatementParser {
  public:
    explicit StatementParser(Program& program) : program_(program), stream_(program), expressions_(program, stream_) {}

    void run() { program_.body = body({}); }

  private:
    using Ends = std::initializer_list<std::string_view>;

    // Statements up to one of the end tags, of which `{%` has been taken; no end tag: up to the end of the template.
    Body body(Ends ends) {
        const TokenStream::Nesting nesting(stream_);
        Body result;
        for (;;) {
            const Token& token = stream_.current();
            switch (token.kind) {
                case Token::Kind::end:
                    if (ends.size() > 0)
                        stream_.fail(token, concat("the template ends before {% ", *(ends.end() - 1), " %}"));
                    return result;
                case Token::Kind::text:
                    result.push_back(program_.make<Text>(token.position, stream_.take().text));
                    break;
                case Token::Kind::variable_begin:
                    stream_.take();
                    result.push_back(printed(expressions_.tuple()));
                    stream_.expect(Token::Kind::variable_end, "the end of the tag");
                    break;
                default:
                    stream_.take();  // a {%
                    if (std::ranges::any_of(ends, [&](std::string_view end) { return stream_.at_name(end); }))
                        return result;
                    statement(result, ends);
                    stream_.expect(Token::Kind::block_end, "the end of the tag");
            }
        }
    }

    // The body of a tag: behind its end, up to an end tag.
    Body tag_body(Ends ends) {
        stream_.skip_symbol(":");
        stream_.expect(Token::Kind::block_end, "the end of the tag");
        return body(ends);
    }

    // The body of what cannot be left by a break or continue of a loop around it.
    Body closed_body(Ends ends) {
        const int around = std::exchange(loops_, 0);
        Body result = tag_body(ends);
        loops_ = around;
        stream_.take();  // the name of the end tag
        return result;
    }

    Body plain_body(std::string_view end) {
        Body result = tag_body({end});
        stream_.take();
        return result;
    }

    void statement(Body& result, Ends ends) {
        struct Tag {
            std::string_view name;
            Statement* (StatementParser::*parse)(const Token& tag);
        };
        using Self = StatementParser;
        constexpr std::array<Tag, 16> kTags{{
            {"autoescape", &Self::left_out},
            {"block", &Self::left_out},
            {"break", &Self::jump},
            {"call", &Self::call_block},
            {"continue", &Self::jump},
            {"extends", &Self::refused},
            {"filter", &Self::filter_block},
            {"for", &Self::loop},
            {"from", &Self::refused},
            {"generation", &Self::generation},
            {"if", &Self::branch},
            {"import", &Self::refused},
            {"include", &Self::refused},
            {"macro", &Self::macro},
            {"set", &Self::set},
            {"with", &Self::with},
        }};
        static_assert(is_sorted_by_name(kTags));
        const Token& tag = stream_.expect_name();
        if (tag.text == "print") return print(result);
        const Tag* known = find_by_name(kTags, tag.text);
        if (!known) unknown(tag, ends);
        result.push_back((this->*known->parse)(tag));
    }

    [[noreturn]] void unknown(const Token& tag, Ends ends) const {
        if (ends.size() == 0)
            stream_.fail(tag, concat("there is no tag '", tag.text, "', or nothing that it could end"));
        stream_.fail(tag,
                     concat("there is no tag '", tag.text, "' where {% ", *(ends.end() - 1), " %} is still to come"));
    }

    Statement* printed(Expression* expression) { return program_.make<Print>(expression->position, expression); }

    void print(Body& result) {
        for (bool first = true; stream_.current().kind != Token::Kind::block_end; first = false) {
            if (!first) stream_.expect_symbol(",");
            result.push_back(printed(expressions_.expression()));
        }
    }

    Statement* loop(const Token& tag) {
        auto* node = program_.make<Loop>(tag.position);
        node->target = expressions_.target(false);
        if (!stream_.skip_name("in")) stream_.fail(stream_.current(), "a for needs an 'in' behind its variables");
        node->iterable = expressions_.tuple(false);
        if (stream_.skip_name("if")) node->condition = expressions_.expression();
        node->recursive = stream_.skip_name("recursive");
        const int around = loops_;
        loops_ = node->recursive ? 1 : loops_ + 1;
        node->body = tag_body({"else", "endfor"});
        loops_ = node->recursive ? 0 : around;
        if (stream_.take().is_name("else")) node->otherwise = plain_body("endfor");
        loops_ = around;
        return node;
    }

    Statement* branch(const Token& tag) {
        auto* node = program_.make<Branch>(tag.position);
        for (bool more = true; more;) {
            Expression* condition = expressions_.tuple(false);
            node->cases.push_back({condition, tag_body({"elif", "else", "endif"})});
            const Token& end = stream_.take();
            more = end.is_name("elif");
            if (end.is_name("else")) node->otherwise = plain_body("endif");
        }
        return node;
    }

    Statement* set(const Token& tag) {
        Expression* target = expressions_.target(true);
        if (stream_.skip_symbol("=")) {
            auto* node = program_.make<Set>(tag.position, target);
            node->value = expressions_.tuple();
            return node;
        }
        auto* node = program_.make<SetBlock>(tag.position, target);
        node->filter = expressions_.filters(nullptr);
        node->body = plain_body("endset");
        return node;
    }

    // (a, b=1)
    void signature(MacroCode& code) {
        stream_.expect_symbol("(");
        while (!stream_.at_symbol(")")) {
            if (!code.parameters.empty()) stream_.expect_symbol(",");
            const Token& token = stream_.current();
            Name* parameter = expressions_.target_name();
            const auto same_name = [&](const Name* other) { return other->name == parameter->name; };
            if (std::ranges::any_of(code.parameters, same_name))
                stream_.fail(token, concat("the parameter ", token.text, " stands there twice"));
            if (code.parameters.size() == kMostNamed) stream_.fail(token, "a macro has more than 255 parameters");
            code.parameters.push_back(parameter);
            if (stream_.skip_symbol("="))
                code.defaults.push_back(expressions_.expression());
            else if (!code.defaults.empty())
                stream_.fail(token, "a parameter without a default stands behind one that has one");
        }
        stream_.expect_symbol(")");
    }

    Statement* macro(const Token& tag) {
        auto* node = program_.make<Macro>(tag.position);
        node->target = expressions_.target_name();
        node->code.name = node->target->name;
        signature(node->code);
        node->code.body = closed_body({"endmacro"});
        return node;
    }

    Statement* call_block(const Token& tag) {
        auto* node = program_.make<CallBlock>(tag.position);
        if (stream_.at_symbol("(")) signature(node->code);
        const Token& token = stream_.current();
        Expression* call = expressions_.expression();
        if (call->kind != Expression::Kind::call) stream_.fail(token, "a call block needs a call");
        node->call = static_cast<Call*>(call);
        node->code.body = closed_body({"endcall"});
        return node;
    }

    Statement* generation(const Token& tag) {
        auto* node = program_.make<Generation>(tag.position);
        program_.has_generation = true;
        node->code.body = closed_body({"endgeneration"});
        return node;
    }

    Statement* filter_block(const Token& tag) {
        auto* node = program_.make<FilterBlock>(tag.position);
        node->filter = expressions_.filters(nullptr, true);
        node->body = plain_body("endfilter");
        return node;
    }

    Statement* with(const Token& tag) {
        auto* node = program_.make<With>(tag.position);
        while (stream_.current().kind != Token::Kind::block_end) {
            if (!node->targets.empty()) stream_.expect_symbol(",");
            node->targets.push_back(expressions_.target(false));
            stream_.expect_symbol("=");
            node->values.push_back(expressions_.expression());
        }
        node->body = plain_body("endwith");
        return node;
    }

    Statement* left_out(const Token& tag) {
        stream_.fail(tag, concat("the tag '", tag.text, "' is not known here, as no chat template needs it; ",
                                 "write what stands in it without the tag"));
        return nullptr;  // never reached: static analysis asks for it
    }

    Statement* jump(const Token& tag) {
        if (loops_ == 0) stream_.fail(tag, concat("a ", tag.text, " stands outside of a loop"));
        return program_.make<Jump>(tag.is_name("break") ? Kind::break_loop : Kind::continue_loop, tag.position);
    }

    Statement* refused(const Token& tag) {
        while (stream_.current().kind != Token::Kind::block_end && stream_.current().kind != Token::Kind::end)
            stream_.take();
        return program_.make<Refused>(tag.position, tag.text);
    }

    Program& program_;
    TokenStream stream_;
    ExpressionParser expressions_;
    int loops_ = 0;  // around the current statement, inside its function
};

}  // namespace

void parse(Program& program) {
    StatementParser(program).run();
}

}  // namespace llmc::jinja::syntax
