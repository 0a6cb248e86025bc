#include "llmc/jinja/filters/attributes.h"

#include <algorithm>
#include <memory>

#include "llmc/jinja/operators/compare.h"
#include "llmc/jinja/operators/operators.h"
#include "llmc/jinja/text/letters.h"

namespace llmc::jinja {
namespace {

bool is_number(std::string_view text) {
    return !text.empty() && text.size() < 19 && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

Value part_of_path(std::string_view part) {
    if (!is_number(part)) return Value::string(part);
    Integer number = 0;
    for (const char c : part) number = number * 10 + (c - '0');
    return Value::integer(number);
}

// Calls `use` for what stands between the separators.
template <class Use>
void split(std::string_view text, char separator, Use use) {
    for (;;) {
        const size_t end = std::min(text.find(separator), text.size());
        use(text.substr(0, end));
        if (end == text.size()) return;
        text.remove_prefix(end + 1);
    }
}

}  // namespace

AttributePath::AttributePath(Runtime& runtime, const Value& path, const Value& fallback) : fallback_(fallback) {
    std::vector<Value> parts;
    if (path.is_string())
        split(path.as_text(), '.', [&](std::string_view part) { parts.push_back(part_of_path(part)); });
    else if (!path.is(Kind::none) && !path.is(Kind::missing))
        parts.push_back(path);
    parts_ = runtime.keep(parts);
}

Value AttributePath::of(Runtime& runtime, Value item) const {
    for (const Value& part : parts_) {
        item = get_item(runtime, item, part);
        const bool has_fallback = !fallback_.is(Kind::missing) && !fallback_.is(Kind::none);
        if (has_fallback && item.is(Kind::undefined)) item = fallback_;
    }
    return item;
}

SortKey::SortKey(Runtime& runtime, const Value& path, bool case_sensitive, bool several, const Value& fallback)
    : case_sensitive_(case_sensitive), several_(several) {
    std::vector<AttributePath> paths;
    if (several && path.is_string())
        split(path.as_text(), ',',
              [&](std::string_view part) { paths.emplace_back(runtime, Value::string(part), fallback); });
    else
        paths.emplace_back(runtime, path, fallback);
    auto* kept = runtime.array<AttributePath>(paths.size());
    std::uninitialized_copy(paths.begin(), paths.end(), kept);
    paths_ = {kept, paths.size()};
}

Value SortKey::folded(Runtime& runtime, const Value& value) const {
    if (case_sensitive_ || !value.is_string()) return value;
    runtime.work(8 * value.as_text().size());
    return runtime.string(text::lower(value.as_text()));
}

Value SortKey::of(Runtime& runtime, const Value& item) const {
    if (!several_) return folded(runtime, paths_[0].of(runtime, item));
    std::vector<Value> keys;
    for (const AttributePath& path : paths_) keys.push_back(folded(runtime, path.of(runtime, item)));
    return runtime.list(keys);
}

void sort_by(Runtime& runtime, std::vector<Value>& items, const SortKey& key, bool reverse) {
    std::vector<std::pair<Value, Value>> keyed;
    keyed.reserve(items.size());
    for (const Value& item : items) keyed.emplace_back(key.of(runtime, item), item);
    const auto order = [&](const auto& a, const auto& b) {
        if (a.first.is(Kind::undefined)) raise_undefined(runtime, a.first);
        if (b.first.is(Kind::undefined)) raise_undefined(runtime, b.first);
        return reverse ? less(runtime, b.first, a.first) : less(runtime, a.first, b.first);
    };
    std::ranges::stable_sort(keyed, order);
    for (size_t i = 0; i < items.size(); ++i) items[i] = keyed[i].second;
}

}  // namespace llmc::jinja
