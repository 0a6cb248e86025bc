#include "llmc/core/arena.h"

#include <algorithm>
#include <cstdio>

namespace llmc {

const char* name_of(MemoryKind kind) {
    switch (kind) {
        case MemoryKind::int8_weights:
            return "int8 weights";
        case MemoryKind::weights:
            return "weights";
        case MemoryKind::outlier_rows:
            return "outlier rows";
        case MemoryKind::embeddings:
            return "embeddings, head";
        case MemoryKind::adapters:
            return "adapters";
        case MemoryKind::optimizer:
            return "optimizer";
        case MemoryKind::activations:
            return "activations";
        case MemoryKind::workspace:
            return "workspace";
        case MemoryKind::count:
            break;
    }
    return "?";
}

// What a user can lower when the memory of this kind is too much.
static const char* remedy(MemoryKind kind) {
    switch (kind) {
        case MemoryKind::weights:
            return "use --method quaff, which keeps the linears in int8, or a smaller --model";
        case MemoryKind::outlier_rows:
            return "lower --outlier-max-ratio";
        case MemoryKind::adapters:
        case MemoryKind::optimizer:
            return "lower --lora-r or name fewer --target-modules";
        case MemoryKind::activations:
            return "use --recompute block, or lower --batch-size (and raise --gradient-accumulation-steps), "
                   "--source-max-len or --target-max-len";
        case MemoryKind::workspace:
            return "lower --batch-size, --source-max-len or --target-max-len";
        default:
            return "use a smaller --model";
    }
}

int64_t MemoryPlan::total() const {
    int64_t sum = 0;
    for (const PlannedTensor& tensor : tensors) sum += tensor.bytes;
    return sum;
}

int64_t MemoryPlan::total(MemoryKind kind) const {
    int64_t sum = 0;
    for (const PlannedTensor& tensor : tensors)
        if (tensor.kind == kind) sum += tensor.bytes;
    return sum;
}

std::string MemoryPlan::table() const {
    std::string text;
    char line[256];
    for (int k = 0; k < static_cast<int>(MemoryKind::count); k++) {
        const MemoryKind kind = static_cast<MemoryKind>(k);
        const PlannedTensor* largest = nullptr;
        int count = 0;
        for (const PlannedTensor& tensor : tensors) {
            if (tensor.kind != kind || tensor.bytes == 0) continue;
            count++;
            if (!largest || tensor.bytes > largest->bytes) largest = &tensor;
        }
        if (!largest) continue;
        std::snprintf(line, sizeof line, "  %-17s %12s  %5d tensor%s largest %s %s[%lld, %lld]\n", name_of(kind),
                      format_bytes(total(kind)).c_str(), count, count == 1 ? ", " : "s,", largest->name.c_str(),
                      largest->type.c_str(), static_cast<long long>(largest->rows),
                      static_cast<long long>(largest->cols));
        text += line;
    }
    std::snprintf(line, sizeof line, "  %-17s %12s\n", "total", format_bytes(total()).c_str());
    return text + line;
}

int64_t ArenaBase::place(MemoryKind kind, const std::string& name, const char* type, int64_t rows, int64_t cols,
                         int64_t size) {
    int64_t bytes = 0;
    if (rows < 0 || cols < 0 || __builtin_mul_overflow(rows, cols, &bytes) ||
        __builtin_mul_overflow(bytes, size, &bytes) || bytes > (int64_t{1} << 60))
        fail("tensor ", name, " [", rows, ", ", cols, "] is larger than any memory; check the sizes in config.json");
    bytes = (bytes + kAlignment - 1) / kAlignment * kAlignment;

    if (!committed_) {
        plan_.tensors.push_back({kind, name, type, rows, cols, bytes});
    } else {
        require(
            next_ < plan_.tensors.size() && plan_.tensors[next_].name == name && plan_.tensors[next_].bytes == bytes,
            "internal error: the memory plan does not hold tensor ", name, " [", rows, ", ", cols, "]");
        next_++;
    }
    int64_t& used = used_[static_cast<size_t>(kind)];
    const int64_t offset = used;
    used += bytes;
    return offset;
}

std::string MemoryPlan::describe(MemoryKind kind) const {
    const PlannedTensor* largest = nullptr;
    for (const PlannedTensor& tensor : tensors)
        if (tensor.kind == kind && (!largest || tensor.bytes > largest->bytes)) largest = &tensor;
    std::string sum = concat(format_bytes(total(kind)), " of ", name_of(kind));
    if (!largest) return sum;
    return concat(sum, " (largest: ", largest->name, " ", largest->type, "[", largest->rows, ", ", largest->cols, "], ",
                  format_bytes(largest->bytes), "): ", remedy(kind));
}

// Activations and workspace shrink with the batch; where they are not worth enough, the largest kind is.
std::string MemoryPlan::blame(int64_t missing) const {
    const int64_t of_batch = total(MemoryKind::activations) + total(MemoryKind::workspace);
    MemoryKind most = MemoryKind::activations;
    for (int k = 0; k < static_cast<int>(MemoryKind::count); k++) {
        const MemoryKind kind = static_cast<MemoryKind>(k);
        const bool shrinks = kind == MemoryKind::activations || kind == MemoryKind::workspace;
        if ((shrinks || of_batch < missing) && total(kind) > total(most)) most = kind;
    }
    return describe(most);
}

std::string ArenaBase::out_of_memory(MemoryKind kind) const {
    return concat("out of memory: the run needs ", format_bytes(plan_.total()), ", and there is no room for ",
                  plan_.describe(kind));
}

}  // namespace llmc
