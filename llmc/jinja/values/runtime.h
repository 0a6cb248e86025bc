// What every operation on values needs: memory for its result, the account of what a rendering has used, and a way to
// fail that names the place in the template. One Runtime serves one rendering.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "llmc/core/error.h"
#include "llmc/jinja/template.h"
#include "llmc/jinja/values/arena.h"
#include "llmc/jinja/values/value.h"

namespace llmc::jinja {

// Where in the template's source something stands, in bytes from its beginning.
using Position = uint32_t;

class Runtime {
  public:
    // `name` and `source` are the template's, for messages.
    Runtime(const RenderOptions& options, std::string_view name, std::string_view source)
        : options_(options), name_(name), source_(source), arena_(options.max_value_bytes) {}
    Runtime(const Runtime&) = delete;
    Runtime& operator=(const Runtime&) = delete;

    const RenderOptions& options() const { return options_; }

    // The node whose operation runs from here on: errors name its place.
    void at(Position position) { position_ = position; }

    // Throws Error "NAME:LINE:COLUMN: " and the sentence. See refuse() below.
    [[noreturn]] void raise(const std::string& sentence) const;

    // Counts steps, and the work of an operation on `bytes` bytes. Throws Error when the limit is passed.
    void step() {
        if (++steps_ > options_.max_steps) out_of_steps();
    }
    void steps(size_t count) { work(count > kMostCounted / kBytesOfAStep ? kMostCounted : count * kBytesOfAStep); }
    void work(size_t bytes) {
        steps_ += static_cast<int64_t>(std::min(bytes, kMostCounted) / kBytesOfAStep);
        if (steps_ > options_.max_steps) out_of_steps();
    }
    // The work of an operation on each of `count` pieces of `bytes` bytes.
    void work(size_t count, size_t bytes) {
        work(bytes > 0 && count > kMostCounted / bytes ? kMostCounted : count * bytes);
    }

    // Throws Error when a text (or a list) of so many bytes is more than a rendering may make.
    void check_size(size_t bytes) const {
        if (bytes > options_.max_value_bytes) out_of_memory();
    }

    // An object of type T that lives until the rendering ends.
    template <class T, class... Arguments>
    T* make(Arguments&&... arguments) {
        static_assert(std::is_trivially_destructible_v<T>);
        return new (allocate(sizeof(T), alignof(T))) T(std::forward<Arguments>(arguments)...);
    }
    // `count` elements without values.
    template <class T>
    T* array(size_t count) {
        static_assert(std::is_trivially_destructible_v<T>);
        if (count > SIZE_MAX / sizeof(T)) out_of_memory();
        return static_cast<T*>(allocate(count * sizeof(T), alignof(T)));
    }

    // Room for the items of a list: even an empty one has a place of its own, by which `is` knows it.
    Value* items(size_t count) { return array<Value>(std::max<size_t>(count, 1)); }

    // The copies live until the rendering ends.
    std::string_view keep(std::string_view text);
    std::span<const Value> keep(std::span<const Value> items);
    Value string(std::string_view text, bool safe = false) { return Value::string(keep(text), safe); }
    Value list(std::span<const Value> items) { return Value::list(keep(items)); }
    Value tuple(std::span<const Value> items) { return Value::tuple(keep(items)); }
    Value tuple(std::initializer_list<Value> items) { return tuple(std::span(items.begin(), items.size())); }

    // `left` and `right` as one text. A left one that was made last grows in place, so that adding to a text piece by
    // piece takes linear time.
    std::string_view join(std::string_view left, std::string_view right);

    // One level of nested evaluation, as long as it lives. Throws Error when there are too many.
    class Nesting {
      public:
        explicit Nesting(Runtime& runtime) : runtime_(runtime) {
            if (++runtime_.depth_ > runtime_.options_.max_depth) runtime_.too_deep();
        }
        ~Nesting() { --runtime_.depth_; }
        Nesting(const Nesting&) = delete;
        Nesting& operator=(const Nesting&) = delete;

      private:
        Runtime& runtime_;
    };

  private:
    static constexpr size_t kBytesOfAStep = 64;
    static constexpr size_t kMostCounted = size_t{1} << 60;  // at once: more than any limit, and the sum cannot wrap

    void* allocate(size_t size, size_t alignment);
    [[noreturn]] void out_of_steps() const;
    [[noreturn]] void out_of_memory() const;
    [[noreturn]] void too_deep();

    const RenderOptions& options_;
    std::string_view name_, source_;
    Arena arena_;
    Position position_ = 0;
    int64_t steps_ = 0;
    int depth_ = 0;
};

// Throws Error "NAME:LINE:COLUMN: " and the parts as one sentence: the place is that of the node that runs.
template <class... Parts>
[[noreturn]] void refuse(const Runtime& runtime, const Parts&... parts) {
    runtime.raise(concat(parts...));
}

// "NAME:LINE:COLUMN: " of a place; both count from 1, columns in characters.
std::string place(std::string_view name, std::string_view source, Position position);

// What a function, filter, test or method is called with. The spans are valid during the call.
struct Keyword {
    std::string_view name;
    Value value;
};
struct Arguments {
    std::span<const Value> positional;
    std::span<const Keyword> keywords;
};

// A value with a behaviour of its own. Lives in the arena.
class Object {
  public:
    virtual std::string_view type_name() const = 0;
    // Sets `found` to the attribute; false: there is none.
    virtual bool attribute(Runtime&, std::string_view, Value&) { return false; }
    virtual bool callable() const { return true; }
    virtual Value call(Runtime& runtime, const Arguments&) { refuse(runtime, "a ", type_name(), " cannot be called"); }
    virtual bool length(Runtime&, Integer&) { return false; }
    // What it prints as. By default an error: Python would print an address in memory.
    virtual std::string print(Runtime& runtime) const {
        refuse(runtime, "a ", type_name(), " cannot be printed; did you mean to call it?");
    }

  protected:
    ~Object() = default;
};

// Walks over values, once.
class Iterator {
  public:
    // Sets `item` to the next value; false: there is none left. An iterator may walk over another one, and that over a
    // third: each is a level of nesting.
    bool next(Runtime& runtime, Value& item) {
        const Runtime::Nesting nesting(runtime);
        return advance(runtime, item);
    }

  protected:
    ~Iterator() = default;

  private:
    virtual bool advance(Runtime& runtime, Value& item) = 0;
};

}  // namespace llmc::jinja
