// The parameters of a built-in function, filled from what it is called with, by Python's rules.
#pragma once

#include <array>
#include <initializer_list>
#include <string_view>

#include "llmc/jinja/library/table.h"
#include "llmc/jinja/operators/print.h"
#include "llmc/jinja/values/runtime.h"

namespace llmc::jinja {

// Counts the call of a built-in function: a step, and the work on the strings that it is given. What takes more than
// one look at each character counts the rest itself.
void count_call(Runtime& runtime, const Value& self, const Arguments& arguments);

// Refuses what Python or jinja2 has and no chat template needs. `what` it is: "filter", "method of str".
[[noreturn]] void refuse_left_out(const Runtime& runtime, std::string_view what, std::string_view name);

// An error in the type of an argument names the function.
class Parameters {
  public:
    static constexpr size_t kMost = 4;  // names, in the longest list

    // `names` in order; the first `required` of them must be passed. A name that begins with '/' can only be passed by
    // position. Raises an error for too many, missing, double or unknown arguments.
    Parameters(Runtime& runtime, std::string_view function, const Arguments& arguments,
               std::initializer_list<std::string_view> names, size_t required = 0);

    bool has(size_t i) const { return !values_[i].is(Kind::missing); }
    // Passed, and not None.
    bool given(size_t i) const { return has(i) && !values_[i].is(Kind::none); }
    const Value& operator[](size_t i) const { return values_[i]; }
    Value get(size_t i, const Value& otherwise) const { return has(i) ? values_[i] : otherwise; }

    Integer integer(size_t i, Integer otherwise) const { return has(i) ? integer(i) : otherwise; }
    Integer integer(size_t i) const;
    bool truth(size_t i) const { return has(i) && is_true(values_[i]); }
    // A str.
    std::string_view text(size_t i) const;
    std::string_view text(size_t i, std::string_view otherwise) const { return has(i) ? text(i) : otherwise; }

  private:
    void by_name(const Keyword& keyword, std::initializer_list<std::string_view> names);

    Runtime& runtime_;
    std::string_view function_;
    std::array<std::string_view, kMost> names_{};
    std::array<Value, kMost> values_{};
};

}  // namespace llmc::jinja
