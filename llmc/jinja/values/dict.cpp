#include "llmc/jinja/values/dict.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>

#include "llmc/jinja/operators/compare.h"

namespace llmc::jinja {
namespace {

uint64_t mix(uint64_t hash, uint64_t more) {
    return (hash ^ more) * 0x9E3779B97F4A7C15u;
}

uint64_t hash_of(Runtime& runtime, std::string_view text) {
    runtime.work(text.size());
    return std::hash<std::string_view>{}(text);
}

uint64_t hash_of_integer(Integer number) {
    return mix(mix(static_cast<uint64_t>(number), 1), static_cast<uint64_t>(number >> 64));
}

// Equal numbers have one hash. A float that is a whole number is hashed as the int that it equals.
uint64_t hash_of_number(const Value& number) {
    if (number.is_integral()) return hash_of_integer(number.as_integer());
    const double value = number.as_floating();
    if (std::trunc(value) == value && std::abs(value) < 0x1p126) return hash_of_integer(static_cast<Integer>(value));
    return mix(std::bit_cast<uint64_t>(value), 2);
}

uint64_t hash_of(Runtime& runtime, const Value& key) {
    runtime.step();
    switch (key.kind()) {
        case Kind::string:
            return hash_of(runtime, key.as_text());
        case Kind::boolean:
        case Kind::integer:
        case Kind::floating:
            return hash_of_number(key);
        case Kind::tuple: {
            const Runtime::Nesting nesting(runtime);
            uint64_t hash = 3;
            for (const Value& item : key.as_items()) hash = mix(hash, hash_of(runtime, item));
            return hash;
        }
        case Kind::list:
        case Kind::dict:
        case Kind::view:
            refuse(runtime, "a ", type_name(key), " cannot be the key of a dict");
        default:
            return static_cast<uint64_t>(key.kind());  // few, and told apart by equality
    }
}

}  // namespace

bool is_hashable(Runtime& runtime, const Value& value) {
    if (value.is(Kind::tuple)) {
        runtime.step();
        const Runtime::Nesting nesting(runtime);
        return std::ranges::all_of(value.as_items(), [&](const Value& item) { return is_hashable(runtime, item); });
    }
    return !value.is(Kind::list) && !value.is(Kind::dict) && !value.is(Kind::view);
}

template <class Equal>
const Dict::Entry* Dict::search(Runtime& runtime, uint64_t hash, Equal equal) const {
    if (!table_) {
        for (size_t i = 0; i < size_; ++i)
            if (hashes_[i] == hash && equal(entries_[i].key)) return &entries_[i];
        return nullptr;
    }
    const size_t mask = 2 * capacity_ - 1;
    for (size_t place = first_place(hash); table_[place] != 0; place = (place + 1) & mask) {
        runtime.step();
        const size_t i = table_[place] - 1;
        if (hashes_[i] == hash && equal(entries_[i].key)) return &entries_[i];
    }
    return nullptr;
}

const Value* Dict::find(Runtime& runtime, const Value& key) const {
    if (key.is_string()) return find(runtime, key.as_text());
    const Entry* entry =
        search(runtime, hash_of(runtime, key), [&](const Value& other) { return equal(runtime, key, other); });
    return entry ? &entry->value : nullptr;
}

const Value* Dict::find(Runtime& runtime, std::string_view key) const {
    const Entry* entry = search(runtime, hash_of(runtime, key),
                                [&](const Value& other) { return other.is_string() && other.as_text() == key; });
    return entry ? &entry->value : nullptr;
}

void Dict::set(Runtime& runtime, const Value& key, const Value& value) {
    const uint64_t hash = hash_of(runtime, key);
    const Entry* entry = search(runtime, hash, [&](const Value& other) { return equal(runtime, key, other); });
    if (entry)
        const_cast<Entry*>(entry)->value = value;
    else
        append(runtime, key, value, hash);
}

void Dict::append(Runtime& runtime, const Value& key, const Value& value, uint64_t hash) {
    if (size_ == capacity_) grow(runtime);
    entries_[size_] = {key, value};
    hashes_[size_] = hash;
    ++size_;
    if (table_) index(runtime, size_ - 1);
}

void Dict::grow(Runtime& runtime) {
    capacity_ = capacity_ ? 2 * capacity_ : 4;
    auto* entries = runtime.array<Entry>(capacity_);
    auto* hashes = runtime.array<uint64_t>(capacity_);
    std::uninitialized_copy(entries_, entries_ + size_, entries);
    std::uninitialized_default_construct(entries + size_, entries + capacity_);
    std::copy(hashes_, hashes_ + size_, hashes);
    entries_ = entries;
    hashes_ = hashes;
    if (capacity_ <= kSearched) return;
    table_ = runtime.array<uint32_t>(2 * capacity_);
    std::fill(table_, table_ + 2 * capacity_, 0);
    for (size_t i = 0; i < size_; ++i) index(runtime, i);
}

// Fibonacci hashing: the low bits of a hash may be those of a number, the high ones of a product with 2^64 / golden
// ratio depend on all of them.
size_t Dict::first_place(uint64_t hash) const {
    return mix(hash, hash >> 29) >> (64 - std::countr_zero(2 * capacity_));
}

void Dict::index(Runtime& runtime, size_t entry) {
    const size_t mask = 2 * capacity_ - 1;
    size_t place = first_place(hashes_[entry]);
    for (; table_[place] != 0; place = (place + 1) & mask) runtime.step();
    table_[place] = static_cast<uint32_t>(entry + 1);
}

void Namespace::set(Runtime& runtime, std::string_view name, const Value& value) {
    if (name.starts_with('_'))
        refuse(runtime, "a namespace takes no attribute that begins with an underscore, but '", name, "' does");
    attributes_->set(runtime, Value::string(name), value);
}

}  // namespace llmc::jinja
