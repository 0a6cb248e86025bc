// From tokens to the tree, by jinja2's grammar.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <string_view>
#include <vector>

#include "llmc/jinja/syntax/lexer.h"

namespace llmc::jinja::syntax {

// Parses program.source into program.body. Throws Error for what jinja2's grammar refuses, and for what is nested
// deeper than any person writes.
void parse(Program& program);

// The tokens, and what both halves of the parser do with them.
class TokenStream {
  public:
    explicit TokenStream(Program& program) : program_(program), tokens_(tokenize(program)) {}

    const Token& current() const { return tokens_[at_]; }
    const Token& next() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
    const Token& take() { return tokens_[at_ + 1 < tokens_.size() ? at_++ : at_]; }
    bool skip_symbol(std::string_view symbol);
    bool skip_name(std::string_view name);
    const Token& expect_symbol(std::string_view symbol);
    const Token& expect_name();
    void expect(Token::Kind kind, std::string_view what);
    bool at_name(std::string_view name) const { return current().is_name(name); }
    bool at_symbol(std::string_view symbol) const { return current().is_symbol(symbol); }

    [[noreturn]] void fail(const Token& token, const std::string& sentence) const {
        program_.fail_at(token.position, sentence);
    }

    // One level of nesting in the source, as long as it lives.
    class Nesting {
      public:
        explicit Nesting(TokenStream& stream);
        ~Nesting() { --stream_.depth_; }
        Nesting(const Nesting&) = delete;
        Nesting& operator=(const Nesting&) = delete;

      private:
        TokenStream& stream_;
    };

  private:
    static constexpr int kMostNesting = 100;

    Program& program_;
    std::vector<Token> tokens_;
    size_t at_ = 0;
    int depth_ = 0;
};

// How messages call a token.
std::string describe(const Token& token);

// As many parameters or named arguments may stand in one list; real templates have some ten.
constexpr size_t kMostNamed = 255;

class ExpressionParser {
  public:
    ExpressionParser(Program& program, TokenStream& stream) : program_(program), stream_(stream) {}

    // One expression.
    Expression* expression(bool with_conditional = true);
    // One or several with commas between them, which are a tuple. A comma may stand before the end of the tag.
    Expression* tuple(bool with_conditional = true);
    // What an assignment may have on its left: a name, a tuple of some; with_attributes: also namespace.name.
    Expression* target(bool with_attributes);
    Name* target_name();
    // | name(arguments) | ..., behind `operand`; nullptr: behind what the block holds.
    Expression* filters(Expression* operand, bool begins_inline = false);

  private:
    enum class Items { expressions, unconditional, targets, attribute_targets };
    Expression* tuple_of(Items items, bool parenthesized = false);
    bool tuple_ends() const;

    Expression* conditional();
    Expression* either();
    Expression* both();
    Expression* negation();
    Expression* comparison();
    Expression* sum();
    Expression* concatenation();
    Expression* product();
    Expression* power();
    Expression* sign(bool with_filters = true);
    Expression* primary(bool with_attributes = false);
    Expression* word(bool with_attributes);
    void refuse_self(const Token& name) const;
    Expression* string();
    Expression* list();
    Expression* dict();
    Expression* postfix(Expression* operand);
    Expression* filters_and_tests(Expression* operand);
    Expression* subscript(Expression* object);
    Expression* subscripted(Expression* object);
    Expression* test(Expression* operand);
    Expression* call(Expression* callee);
    CallArguments arguments();
    void argument(CallArguments& arguments);

    // The name of a filter or test, which may have dots in it.
    std::string_view dotted_name();
    // The node, once its height is known from its parts.
    template <class Node>
    Node* finish(Node* node, std::initializer_list<const Expression*> parts) const {
        for (const Expression* part : parts) grow(node, part);
        return node;
    }
    void grow(Expression* node, const Expression* part) const;
    void check_assignable(const Expression* target) const;

    Program& program_;
    TokenStream& stream_;
};

}  // namespace llmc::jinja::syntax
