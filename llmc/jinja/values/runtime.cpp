#include "llmc/jinja/values/runtime.h"

#include <algorithm>
#include <cstring>

namespace llmc::jinja {

void Runtime::raise(const std::string& sentence) const {
    throw Error(place(name_, source_, position_) + sentence);
}

std::string_view Runtime::keep(std::string_view text) {
    if (text.empty()) return {};
    char* copy = array<char>(text.size());
    std::memcpy(copy, text.data(), text.size());
    return {copy, text.size()};
}

std::span<const Value> Runtime::keep(std::span<const Value> items) {
    auto* copy = this->items(items.size());
    std::uninitialized_copy(items.begin(), items.end(), copy);
    return {copy, items.size()};
}

std::string_view Runtime::join(std::string_view left, std::string_view right) {
    if (left.empty()) return right;
    if (right.empty()) return left;
    work(right.size());
    const char* end = left.data() + left.size();
    if (arena_.extend(end, right.size())) {
        std::memcpy(const_cast<char*>(end), right.data(), right.size());
        return {left.data(), left.size() + right.size()};
    }
    work(left.size());
    char* both = array<char>(left.size() + right.size());
    std::memcpy(both, left.data(), left.size());
    std::memcpy(both + left.size(), right.data(), right.size());
    return {both, left.size() + right.size()};
}

void* Runtime::allocate(size_t size, size_t alignment) {
    void* piece = arena_.allocate(size, alignment);
    if (!piece) out_of_memory();
    return piece;
}

void Runtime::out_of_steps() const {
    refuse(*this, "the template takes more than ", options_.max_steps,
           " steps for this conversation; it may loop without end");
}

void Runtime::out_of_memory() const {
    refuse(*this, "the template makes values of more than ", options_.max_value_bytes >> 20,
           " MiB for this conversation");
}

void Runtime::too_deep() {
    --depth_;  // the destructor of this level will not run
    refuse(*this, "the template nests more than ", options_.max_depth,
           " evaluations; a macro may call itself without end, or a value may hold itself");
}

std::string place(std::string_view name, std::string_view source, Position position) {
    const std::string_view before = source.substr(0, std::min<size_t>(position, source.size()));
    const auto line = std::count(before.begin(), before.end(), '\n') + 1;
    const std::string_view in_line = before.substr(before.rfind('\n') + 1);
    const auto column =
        std::count_if(in_line.begin(), in_line.end(), [](unsigned char byte) { return (byte & 0xC0) != 0x80; }) + 1;
    return concat(name, ":", line, ":", column, ": ");
}

}  // namespace llmc::jinja
