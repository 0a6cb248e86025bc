#include "llmc/jinja/syntax/symbols.h"

#include "llmc/jinja/syntax/walk.h"

namespace llmc::jinja::syntax {

uint32_t FunctionSlots::slot(int level, std::string_view name) {
    const auto [found, added] = slots_.try_emplace({level, name}, function_.slots);
    if (added) ++function_.slots;
    return found->second;
}

const Symbols::Reference* Symbols::own(std::string_view name) const {
    for (const Symbols* symbols = this; symbols; symbols = symbols->base_) {
        const auto found = symbols->references_.find(name);
        if (found != symbols->references_.end()) return &found->second;
    }
    return nullptr;
}

const Symbols::Reference* Symbols::find(std::string_view name) const {
    for (const Symbols* symbols = this; symbols; symbols = symbols->parent_)
        if (const Reference* found = symbols->own(name)) return found;
    return nullptr;
}

bool Symbols::stores(std::string_view name) const {
    for (const Symbols* symbols = this; symbols; symbols = symbols->base_)
        if (symbols->stores_.contains(name)) return true;
    return false;
}

Symbols::Reference Symbols::define(std::string_view name, Source source, const Reference* outer) {
    const Reference reference{&function_, function_.slot(level_, name)};
    references_.insert_or_assign(name, reference);
    loads_.insert_or_assign(reference.slot, Entry{source, name, outer ? *outer : Reference{}});
    return reference;
}

uint32_t Symbols::declare_parameter(std::string_view name) {
    stores_.insert(name);
    return define(name, Source::parameter).slot;
}

void Symbols::declare_parameters(const Expression* target) {
    if (target->kind == Expression::Kind::name) declare_parameter(static_cast<const Name*>(target)->name);
    for (const Expression* part : parts(*target)) declare_parameters(part);
}

void Symbols::store(std::string_view name) {
    stores_.insert(name);
    if (own(name)) return;
    const Reference* outer = parent_ ? parent_->find(name) : nullptr;
    define(name, outer ? Source::outside : Source::nothing, outer);
}

void Symbols::load(std::string_view name) {
    if (!find(name)) define(name, Source::context);
}

void Symbols::analyze(const Expression* expression) {
    if (!expression) return;
    if (expression->kind == Expression::Kind::name) load(static_cast<const Name*>(expression)->name);
    for (const Expression* part : parts(*expression)) analyze(part);
}

void Symbols::analyze_target(const Expression* target) {
    if (target->kind == Expression::Kind::name) store(static_cast<const Name*>(target)->name);
    if (target->kind == Expression::Kind::attribute_of_name) load(static_cast<const AttributeOfName*>(target)->name);
    for (const Expression* part : parts(*target)) analyze_target(part);
}

void Symbols::analyze(const Body& body) {
    for (const Statement* statement : body) analyze(*statement);
}

// What stands inside a loop, macro or other scope is found when that scope is.
void Symbols::analyze(const Statement& statement) {
    switch (statement.kind) {
        case Statement::Kind::print:
            return analyze(static_cast<const Print&>(statement).expression);
        case Statement::Kind::branch:
            return analyze_branch(static_cast<const Branch&>(statement));
        case Statement::Kind::loop:
            return analyze(static_cast<const Loop&>(statement).iterable);
        case Statement::Kind::set:
            analyze(static_cast<const Set&>(statement).value);
            return analyze_target(static_cast<const Set&>(statement).target);
        case Statement::Kind::set_block:
            return analyze_target(static_cast<const SetBlock&>(statement).target);
        case Statement::Kind::macro:
            return store(static_cast<const Macro&>(statement).code.name);
        case Statement::Kind::call_block:
            return analyze(static_cast<const CallBlock&>(statement).call);
        case Statement::Kind::filter_block:
            return analyze(static_cast<const FilterBlock&>(statement).filter);
        case Statement::Kind::with:
            for (const Expression* value : static_cast<const With&>(statement).values) analyze(value);
            return;
        default:
            return;
    }
}

void Symbols::analyze_branch(const Branch& branch) {
    analyze(branch.cases[0].condition);
    std::vector<Symbols> branches(3, Symbols(*this, BranchOf{}));
    branches[0].analyze(branch.cases[0].body);
    // Each elif is an if of its own, one behind the other in a scope that they share.
    for (size_t i = 1; i < branch.cases.size(); ++i) {
        branches[1].analyze(branch.cases[i].condition);
        std::vector<Symbols> inner(1, Symbols(branches[1], BranchOf{}));
        inner[0].analyze(branch.cases[i].body);
        branches[1].merge(inner);
    }
    branches[2].analyze(branch.otherwise);
    merge(branches);
}

// A name that only some branches assign keeps its value from outside in the others.
void Symbols::merge(const std::vector<Symbols>& branches) {
    std::set<std::string_view> stored;
    for (const Symbols& branch : branches)
        for (const std::string_view name : branch.stores_)
            if (!stores(name)) stored.insert(name);
    for (const Symbols& branch : branches) {
        for (const auto& [name, reference] : branch.references_) references_.insert_or_assign(name, reference);
        for (const auto& [slot, entry] : branch.loads_) loads_.insert_or_assign(slot, entry);
        stores_.insert(branch.stores_.begin(), branch.stores_.end());
    }
    for (const std::string_view name : stored) {
        const Reference* outer = parent_ ? parent_->find(name) : nullptr;
        const Source source = outer ? Source::outside : Source::context;
        loads_.insert_or_assign(own(name)->slot, Entry{source, name, outer ? *outer : Reference{}});
    }
}

bool Symbols::find(std::string_view name, const FunctionSlots& function, Variable& variable) const {
    const Reference* reference = find(name);
    if (!reference) return false;
    variable = {static_cast<uint32_t>(function.depth() - reference->function->depth()), reference->slot};
    return true;
}

Scope Symbols::scope() const {
    Scope scope;
    for (const auto& [slot, entry] : loads_) {
        scope.slots.push_back(slot);
        switch (entry.source) {
            case Source::parameter:
                break;
            case Source::context:
                scope.loads.push_back({slot, Load::From::context, {}, entry.name});
                break;
            case Source::nothing:
                scope.loads.push_back({slot, Load::From::nothing, {}, entry.name});
                break;
            case Source::outside: {
                const auto hops = static_cast<uint32_t>(function_.depth() - entry.outer.function->depth());
                scope.loads.push_back({slot, Load::From::variable, {hops, entry.outer.slot}, entry.name});
                break;
            }
        }
    }
    return scope;
}

}  // namespace llmc::jinja::syntax
