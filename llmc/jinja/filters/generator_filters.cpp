// Filters that return an iterator: nothing of it is computed, and nothing of it can fail, before somebody walks over
// it.
#include <array>

#include "llmc/jinja/filters/attributes.h"
#include "llmc/jinja/filters/filters.h"
#include "llmc/jinja/library/arguments.h"
#include "llmc/jinja/library/tests.h"
#include "llmc/jinja/operators/operators.h"
#include "llmc/jinja/values/dict.h"
#include "llmc/jinja/values/iterate.h"

namespace llmc::jinja {
namespace {

Arguments keep(Runtime& runtime, const Arguments& arguments) {
    const auto& keywords = arguments.keywords;
    auto* copies = runtime.array<Keyword>(keywords.size());
    std::uninitialized_copy(keywords.begin(), keywords.end(), copies);
    return {runtime.keep(arguments.positional), {copies, keywords.size()}};
}

// What a generator walks over, from its first step on.
class Source {
  public:
    explicit Source(const Value& value) : value_(value) {}
    const Value& value() const { return value_; }
    bool next(Runtime& runtime, Value& item) {
        runtime.step();
        if (!items_) items_ = &iterate(runtime, value_);
        return items_->next(runtime, item);
    }

  private:
    Value value_;
    Iterator* items_ = nullptr;
};

// A number that a generator was given: looked at when it is walked over.
Integer number_of(Runtime& runtime, std::string_view filter, const Value& value) {
    if (!value.is_integral()) refuse(runtime, filter, " needs an int, not a ", type_name(value));
    return value.as_integer();
}

template <class Generator, class... Parts>
Value generate(Runtime& runtime, const Parts&... parts) {
    return Value::iterator(runtime.make<Generator>(parts...));
}

// map('filter', ..) or map(attribute='a.b', default=..)
class Mapped final : public Iterator {
  public:
    Mapped(const Value& value, const Arguments& arguments) : source_(value), arguments_(arguments) {}

  private:
    bool advance(Runtime& runtime, Value& item) override {
        if (!prepared_) {
            if (!is_true(source_.value())) return false;
            prepare(runtime);
        }
        if (!source_.next(runtime, item)) return false;
        item = filter_ ? apply_filter(runtime, *filter_, item, rest_) : path_->of(runtime, item);
        return true;
    }

    void prepare(Runtime& runtime) {
        prepared_ = true;
        const Value* attribute = nullptr;
        Value fallback;
        for (const Keyword& keyword : arguments_.keywords) {
            if (keyword.name == "attribute") attribute = &keyword.value;
            if (keyword.name == "default") fallback = keyword.value;
        }
        if (arguments_.positional.empty() && attribute) {
            for (const Keyword& keyword : arguments_.keywords)
                if (keyword.name != "attribute" && keyword.name != "default")
                    refuse(runtime, "map takes no argument named ", keyword.name);
            path_ = runtime.make<AttributePath>(runtime, *attribute, fallback);
            return;
        }
        if (arguments_.positional.empty()) refuse(runtime, "map needs the name of a filter, or an attribute");
        const Value& name = arguments_.positional[0];
        filter_ = name.is_string() ? find_filter(name.as_text()) : nullptr;
        if (!filter_) refuse(runtime, "there is no filter '", to_string(runtime, name), "'");
        rest_ = {arguments_.positional.subspan(1), arguments_.keywords};
    }

    Source source_;
    Arguments arguments_, rest_;
    bool prepared_ = false;
    const Filter* filter_ = nullptr;
    const AttributePath* path_ = nullptr;
};

// select, reject, selectattr, rejectattr: the items, or those with an attribute, that pass a test or fail it.
class Selected final : public Iterator {
  public:
    Selected(const Value& value, const Arguments& arguments, bool by_attribute, bool wanted)
        : source_(value), arguments_(arguments), by_attribute_(by_attribute), wanted_(wanted) {}

  private:
    bool advance(Runtime& runtime, Value& item) override {
        if (!prepared_) {
            if (!is_true(source_.value())) return false;
            prepare(runtime);
        }
        while (source_.next(runtime, item)) {
            const Value tested = path_ ? path_->of(runtime, item) : item;
            if ((test_ ? holds(runtime, *test_, tested, rest_) : is_true(tested)) == wanted_) return true;
        }
        return false;
    }

    void prepare(Runtime& runtime) {
        prepared_ = true;
        auto positional = arguments_.positional;
        if (by_attribute_) {
            if (positional.empty()) refuse(runtime, "the filter needs the name of an attribute");
            path_ = runtime.make<AttributePath>(runtime, positional[0]);
            positional = positional.subspan(1);
        }
        if (positional.empty()) return;
        test_ = positional[0].is_string() ? find_test(positional[0].as_text()) : nullptr;
        if (!test_) refuse(runtime, "there is no test '", to_string(runtime, positional[0]), "'");
        rest_ = {positional.subspan(1), arguments_.keywords};
    }

    Source source_;
    Arguments arguments_, rest_;
    bool by_attribute_, wanted_, prepared_ = false;
    const AttributePath* path_ = nullptr;
    const Test* test_ = nullptr;
};

class Unique final : public Iterator {
  public:
    Unique(const Value& value, SortKey* key, Dict* seen) : source_(value), key_(key), seen_(seen) {}

  private:
    bool advance(Runtime& runtime, Value& item) override {
        while (source_.next(runtime, item)) {
            const Value key = key_->of(runtime, item);
            if (seen_->find(runtime, key)) continue;
            seen_->set(runtime, key, Value::none());
            return true;
        }
        return false;
    }

    Source source_;
    const SortKey* key_;
    Dict* seen_;
};

// Lists of `size` items each; the last one is filled up with `fill` unless that is none.
class Batches final : public Iterator {
  public:
    Batches(const Value& value, const Value& size, const Value& fill) : source_(value), size_(size), fill_(fill) {}

  private:
    bool advance(Runtime& runtime, Value& item) override {
        std::vector<Value> batch;
        if (!first_.is(Kind::missing)) batch.push_back(std::exchange(first_, {}));
        for (Value one; source_.next(runtime, one);) {
            if (static_cast<Integer>(batch.size()) == number_of(runtime, "batch", size_)) {
                first_ = one;
                item = runtime.list(batch);
                return true;
            }
            runtime.check_size((batch.size() + 1) * sizeof(Value));
            batch.push_back(one);
        }
        if (batch.empty()) return false;
        const Integer size = number_of(runtime, "batch", size_);
        if (!fill_.is(Kind::none) && static_cast<Integer>(batch.size()) < size) {
            runtime.check_size(size > INT32_MAX ? SIZE_MAX : static_cast<size_t>(size) * sizeof(Value));
            batch.resize(static_cast<size_t>(size), fill_);
        }
        item = runtime.list(batch);
        return true;
    }

    Source source_;
    Value size_, fill_;
    Value first_;  // of the next batch
};

// `count` lists of nearly the same size; the shorter ones get one `fill` more unless that is none.
class Slices final : public Iterator {
  public:
    Slices(const Value& value, const Value& count, const Value& fill) : value_(value), number_(count), fill_(fill) {}

  private:
    bool advance(Runtime& runtime, Value& item) override {
        if (at_ < 0) {
            items_ = runtime.keep(items_of(runtime, value_));
            count_ = number_of(runtime, "slice", number_);
            if (count_ == 0) refuse(runtime, "slice needs a number of slices that is not zero");
            at_ = 0;
        }
        if (at_ >= count_) return false;
        const auto size = static_cast<Integer>(items_.size());
        const Integer longer = size % count_, each = size / count_;
        const Integer begin = at_ * each + std::min(at_, longer), end = begin + each + (at_ < longer ? 1 : 0);
        const auto part = items_.subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
        std::vector<Value> column(part.begin(), part.end());
        if (!fill_.is(Kind::none) && at_ >= longer) column.push_back(fill_);
        ++at_;
        runtime.step();
        item = runtime.list(column);
        return true;
    }

    Value value_, number_, fill_;
    std::span<const Value> items_;
    Integer count_ = 0, at_ = -1;
};

class DictItems final : public Iterator {
  public:
    explicit DictItems(const Value& value) : value_(value) {}

  private:
    bool advance(Runtime& runtime, Value& item) override {
        if (value_.is(Kind::undefined)) return false;
        if (!value_.is(Kind::dict)) refuse(runtime, "items needs a dict, not a ", type_name(value_));
        if (at_ == value_.as_dict().size()) return false;
        item = item_of(runtime, View{View::What::items, &value_.as_dict()}, at_++);
        return true;
    }

    Value value_;
    size_t at_ = 0;
};

Value map(Runtime& runtime, const Value& value, const Arguments& arguments) {
    return generate<Mapped>(runtime, value, keep(runtime, arguments));
}

template <bool by_attribute, bool wanted>
Value select(Runtime& runtime, const Value& value, const Arguments& arguments) {
    return generate<Selected>(runtime, value, keep(runtime, arguments), by_attribute, wanted);
}

Value items(Runtime& runtime, const Value& value, const Arguments& arguments) {
    const Parameters none(runtime, "items", arguments, {});
    return generate<DictItems>(runtime, value);
}

Value batch(Runtime& runtime, const Value& value, const Arguments& arguments) {
    const Parameters parameters(runtime, "batch", arguments, {"linecount", "fill_with"}, 1);
    return generate<Batches>(runtime, value, parameters[0], parameters.get(1, Value::none()));
}

Value slice(Runtime& runtime, const Value& value, const Arguments& arguments) {
    const Parameters parameters(runtime, "slice", arguments, {"slices", "fill_with"}, 1);
    return generate<Slices>(runtime, value, parameters[0], parameters.get(1, Value::none()));
}

Value unique(Runtime& runtime, const Value& value, const Arguments& arguments) {
    const Parameters parameters(runtime, "unique", arguments, {"case_sensitive", "attribute"});
    auto* key = runtime.make<SortKey>(runtime, parameters.get(1, Value::none()), parameters.truth(0), false);
    return generate<Unique>(runtime, value, key, runtime.make<Dict>());
}

constexpr std::array<Filter, 9> kFilters{{
    {"batch", batch},
    {"items", items},
    {"map", map},
    {"reject", select<false, false>},
    {"rejectattr", select<true, false>},
    {"select", select<false, true>},
    {"selectattr", select<true, true>},
    {"slice", slice},
    {"unique", unique},
}};
static_assert(is_sorted_by_name(kFilters));

}  // namespace

const Filter* find_generator_filter(std::string_view name) {
    return find_by_name(kFilters, name);
}

}  // namespace llmc::jinja
