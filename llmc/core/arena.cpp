#include "llmc/core/arena.h"

#include <cstdio>

#include "llmc/core/integers.h"

namespace llmc {

void MemoryPlan::add(const MemoryPlan& other, const std::string& owner) {
    for (PlannedTensor tensor : other.tensors) {
        tensor.name.insert(0, owner + ".");
        tensors.push_back(std::move(tensor));
    }
}

int64_t MemoryPlan::total() const {
    int64_t sum = 0;
    for (const PlannedTensor& tensor : tensors) sum += tensor.bytes;
    return sum;
}

int64_t MemoryPlan::total(size_t kind) const {
    int64_t sum = 0;
    for (const PlannedTensor& tensor : tensors)
        if (tensor.kind == kind) sum += tensor.bytes;
    return sum;
}

std::string MemoryPlan::table() const {
    std::string text;
    char line[256];
    for (size_t kind = 0; kind < kinds.size(); kind++) {
        const PlannedTensor* largest = nullptr;
        int count = 0;
        for (const PlannedTensor& tensor : tensors) {
            if (tensor.kind != kind || tensor.bytes == 0) continue;
            count++;
            if (!largest || tensor.bytes > largest->bytes) largest = &tensor;
        }
        if (!largest) continue;
        std::snprintf(line, sizeof line, "  %-17s %12s  %5d tensor%s largest %s %s[%lld, %lld]\n", kinds[kind].name,
                      format_bytes(total(kind)).c_str(), count, count == 1 ? ", " : "s,", largest->name.c_str(),
                      largest->type.c_str(), static_cast<long long>(largest->rows),
                      static_cast<long long>(largest->cols));
        text += line;
    }
    std::snprintf(line, sizeof line, "  %-17s %12s\n", "total", format_bytes(total()).c_str());
    return text + line;
}

int64_t ArenaBase::place_bytes(size_t kind, const std::string& name, const char* type, int64_t rows, int64_t cols,
                               int64_t size) {
    const std::string full_name = owner_ + name;
    int64_t bytes = 0;
    if (rows < 0 || cols < 0 || __builtin_mul_overflow(rows, cols, &bytes) ||
        __builtin_mul_overflow(bytes, size, &bytes) || bytes > (int64_t{1} << 60))
        fail("tensor ", full_name, " [", rows, ", ", cols,
             "] is larger than any memory; check the sizes in config.json");
    bytes = round_up(bytes, kAlignment);

    if (!committed_) {
        plan_.tensors.push_back({kind, full_name, type, rows, cols, bytes});
    } else {
        require(next_ < plan_.tensors.size() && plan_.tensors[next_].name == full_name &&
                    plan_.tensors[next_].bytes == bytes,
                "internal error: the memory plan does not hold tensor ", full_name, " [", rows, ", ", cols, "]");
        next_++;
    }
    const int64_t offset = used_[kind];
    used_[kind] += bytes;
    return offset;
}

std::string MemoryPlan::describe(size_t kind) const {
    const PlannedTensor* largest = nullptr;
    for (const PlannedTensor& tensor : tensors)
        if (tensor.kind == kind && (!largest || tensor.bytes > largest->bytes)) largest = &tensor;
    std::string sum = concat(format_bytes(total(kind)), " of ", kinds[kind].name);
    if (!largest) return sum;
    return concat(sum, " (largest: ", largest->name, " ", largest->type, "[", largest->rows, ", ", largest->cols, "], ",
                  format_bytes(largest->bytes), "): ", kinds[kind].remedy);
}

// Names the largest kind that shrinks with the batch, unless all of those together hold less than is missing. Then it
// names the largest kind of all.
std::string MemoryPlan::blame(int64_t missing) const {
    int64_t of_batch = 0;
    for (size_t kind = 0; kind < kinds.size(); kind++)
        if (kinds[kind].of_batch) of_batch += total(kind);
    int64_t most_bytes = -1;
    size_t most = 0;
    for (size_t kind = 0; kind < kinds.size(); kind++) {
        const bool helps = kinds[kind].of_batch || of_batch < missing;
        if (!helps || total(kind) <= most_bytes) continue;
        most = kind;
        most_bytes = total(kind);
    }
    return describe(most);
}

std::string ArenaBase::out_of_memory(size_t kind) const {
    return concat("out of memory: the run needs ", format_bytes(plan_.total()), ", and there is no room for ",
                  plan_.describe(kind));
}

}  // namespace llmc
