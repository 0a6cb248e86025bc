// Gives each name of a parsed template its variable, and each scope what it does on entry.
#pragma once

#include "llmc/jinja/syntax/nodes.h"

namespace llmc::jinja::syntax {

// Throws Error for what jinja2 refuses when it compiles: an unknown filter or test outside of an if, an assignment to
// `loop` inside a loop.
void resolve_names(Program& program);

}  // namespace llmc::jinja::syntax
