// The parts of a node, in the order of the source.
#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include "llmc/jinja/syntax/nodes.h"

namespace llmc::jinja::syntax {

// The expressions that an expression consists of.
std::vector<Expression*> parts(const Expression& expression);

// Calls `visit(name, reads)` for each name in `body` and in everything below it. reads: false
// where it is assigned, or is a parameter.
using NameVisitor = std::function<void(std::string_view name, bool reads)>;
void visit_names(const Body& body, const NameVisitor& visit);

}  // namespace llmc::jinja::syntax
