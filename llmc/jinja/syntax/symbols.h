// Which variable a name means, by jinja2's rules. A scope (the template, the body of a loop, of a macro, ..) has slots
// of its own for the names that it assigns; a name that it only reads is that of the nearest scope outside that has it,
// or comes from the context. Whether a scope assigns a name is known before anything runs, so a name that is assigned
// further down already has its slot: on entry that takes the value of the same name outside.
#pragma once

#include <map>
#include <set>
#include <string_view>
#include <utility>

#include "llmc/jinja/syntax/nodes.h"

namespace llmc::jinja::syntax {

// The slots of a function while its scopes are found. Scopes side by side share the slots of equal names.
class FunctionSlots {
  public:
    FunctionSlots(Function& function, const FunctionSlots* outer)
        : function_(function), depth_(outer ? outer->depth_ + 1 : 0) {}
    uint32_t slot(int level, std::string_view name);
    int depth() const { return depth_; }

  private:
    Function& function_;
    int depth_;  // how many functions are outside
    std::map<std::pair<int, std::string_view>, uint32_t> slots_;
};

class Symbols {
  public:
    // The scope inside `parent` (nullptr: the outermost).
    Symbols(const Symbols* parent, FunctionSlots& function)
        : parent_(parent), function_(function), level_(parent ? parent->level_ + 1 : 0) {}

    // Finds the names of a body, or of an expression, that belong to this scope.
    void analyze(const Body& body);
    void analyze(const Expression* expression);
    void analyze_target(const Expression* target);
    // A name that the scope is given: a parameter, a loop's target.
    uint32_t declare_parameter(std::string_view name);
    void declare_parameters(const Expression* target);

    // The variable of a name, seen from `function`; false: no scope has it.
    bool find(std::string_view name, const FunctionSlots& function, Variable& variable) const;
    Scope scope() const;
    FunctionSlots& function() const { return function_; }

  private:
    struct Reference {
        const FunctionSlots* function;
        uint32_t slot;
        bool operator==(const Reference&) const = default;
    };
    enum class Source : uint8_t { parameter, context, outside, nothing };
    struct Entry {
        Source source;
        std::string_view name;
        Reference outer;  // for `outside`
    };

    // A branch of an if in this scope: it knows what the scope knows, and what it adds is merged afterwards.
    struct BranchOf {};
    Symbols(const Symbols& base, BranchOf)
        : parent_(base.parent_), base_(&base), function_(base.function_), level_(base.level_) {}

    const Reference* own(std::string_view name) const;
    const Reference* find(std::string_view name) const;
    bool stores(std::string_view name) const;
    Reference define(std::string_view name, Source source, const Reference* outer = nullptr);
    void store(std::string_view name);
    void load(std::string_view name);
    void analyze(const Statement& statement);
    void analyze_branch(const Branch& branch);
    void merge(const std::vector<Symbols>& branches);

    const Symbols* parent_;
    const Symbols* base_ = nullptr;  // of a branch
    FunctionSlots& function_;
    int level_;
    std::map<std::string_view, Reference> references_;
    std::map<uint32_t, Entry> loads_;  // by slot
    std::set<std::string_view> stores_;
};

}  // namespace llmc::jinja::syntax
