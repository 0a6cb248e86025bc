#include "cublasLt.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstring>
#include <thread>
#include <vector>

#include "llmc/core/dtype.h"
#include "llmc/core/error.h"
#include "llmc/core/integers.h"
#include "test/emu/emulator.h"
#include "test/emu/memory.h"

struct cublasLtContext {};

namespace emu {

Blas& blas() {
    static Blas state;
    return state;
}

namespace {

// What the opaque structures hold.
struct Layout {
    cudaDataType_t type;
    int64_t rows, cols, ld;
};
struct Operation {
    cublasComputeType_t compute;
    cudaDataType_t scale;
    int32_t transpose_a, transpose_b;
    uint32_t epilogue;
};
struct Preference {
    uint64_t workspace;
    uint32_t reductions;
    uint32_t alignment[4];  // A, B, C, D
};
struct Choice {
    uint64_t magic;
    uint64_t kind;  // of the products it was made for
    uint64_t index;
};
constexpr uint64_t kMagic = 0x656d755f626c6173;
constexpr int64_t kWorthThreads = 1 << 18;  // multiplications: fewer are done before other threads wake up

template <class Inside, class Opaque>
Inside open(const Opaque* opaque) {
    static_assert(sizeof(Inside) <= sizeof(Opaque));
    Inside inside;
    std::memcpy(&inside, opaque, sizeof(Inside));
    return inside;
}

template <class Opaque, class Inside>
void close(Opaque* opaque, const Inside& inside) {
    static_assert(sizeof(Inside) <= sizeof(Opaque));
    *opaque = {};
    std::memcpy(opaque, &inside, sizeof(Inside));
}

// One of a descriptor's fields; a value of another size is refused, as by the real library.
template <class Field>
cublasStatus_t set(Field& field, const void* value, size_t size) {
    if (value == nullptr || size != sizeof(Field)) return CUBLAS_STATUS_INVALID_VALUE;
    std::memcpy(&field, value, size);
    return CUBLAS_STATUS_SUCCESS;
}

bool fails_now() {
    return blas().failing_call > 0 && --blas().failing_call == 0;
}

int64_t size_of(cudaDataType_t type) {
    return type == CUDA_R_8I ? 1 : type == CUDA_R_16F || type == CUDA_R_16BF ? 2 : 4;
}

// The algorithms, as the heuristic ranks them.
struct Algorithm {
    int64_t alignment;  // bytes, of addresses and columns; 0: an element, or 4 bytes of int8
    int64_t splits;     // of the contraction
    uint32_t reduction;
};
constexpr Algorithm kAlgorithms[Blas::kAlgorithms] = {
    {16, 1, CUBLASLT_REDUCTION_SCHEME_NONE},
    {16, 2, CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE},
    {0, 4, CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE},
    {0, 1, CUBLASLT_REDUCTION_SCHEME_NONE},
};

struct Product {
    Operation op;
    Layout a, b, c, d;

    Product(cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c,
            cublasLtMatrixLayout_t d)
        : op(open<Operation>(desc)), a(open<Layout>(a)), b(open<Layout>(b)), c(open<Layout>(c)), d(open<Layout>(d)) {}

    std::array<Layout, 4> layouts() const { return {a, b, c, d}; }
    int64_t m() const { return d.rows; }
    int64_t n() const { return d.cols; }
    int64_t k() const { return op.transpose_a == CUBLAS_OP_T ? a.rows : a.cols; }

    uint64_t kind() const {
        uint64_t code = 0;
        for (const int part : {int{op.compute}, int{a.type}, int{d.type}, int{op.transpose_a}, int{op.transpose_b}}) {
            code = code * 128 + static_cast<uint64_t>(part);
        }
        return code;
    }

    cublasStatus_t check() const {
        const bool shapes_fit = (op.transpose_a == CUBLAS_OP_T ? a.cols : a.rows) == m() &&
                                (op.transpose_b == CUBLAS_OP_T ? b.rows : b.cols) == n() &&
                                (op.transpose_b == CUBLAS_OP_T ? b.cols : b.rows) == k() && c.rows == m() &&
                                c.cols == n();
        if (!shapes_fit || m() <= 0 || n() <= 0 || k() <= 0) return CUBLAS_STATUS_INVALID_VALUE;
        for (const Layout& layout : layouts()) {
            if (layout.ld < layout.rows) return CUBLAS_STATUS_INVALID_VALUE;
        }
        const bool known = op.epilogue == CUBLASLT_EPILOGUE_DEFAULT && a.type == b.type && c.type == d.type &&
                           (op.compute == CUBLAS_COMPUTE_32I ? int8_rules_hold() : float_rules_hold());
        return known ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
    }

    bool int8_rules_hold() const {
        for (const int64_t multiple_of_4 : {m(), k(), a.ld, b.ld, c.ld, d.ld}) {
            if (multiple_of_4 % 4 != 0) return false;
        }
        return op.scale == CUDA_R_32I && a.type == CUDA_R_8I && d.type == CUDA_R_32I && op.transpose_a == CUBLAS_OP_T &&
               op.transpose_b == CUBLAS_OP_N && capability() >= 75;
    }

    bool float_rules_hold() const {
        const bool in_floats = a.type == CUDA_R_32F || a.type == CUDA_R_16F || a.type == CUDA_R_16BF;
        return op.compute == CUBLAS_COMPUTE_32F && op.scale == CUDA_R_32F && in_floats &&
               (d.type == a.type || d.type == CUDA_R_32F) && (a.type != CUDA_R_16BF || capability() >= 80);
    }

    static int capability() { return machine().major * 10 + machine().minor; }

    int64_t alignment_for(const Algorithm& algorithm, const Layout& layout) const {
        if (algorithm.alignment > 0) return algorithm.alignment;
        return std::max<int64_t>(size_of(layout.type), op.compute == CUBLAS_COMPUTE_32I ? 4 : 1);
    }

    bool columns_aligned_for(const Algorithm& algorithm) const {
        return std::ranges::all_of(layouts(), [&](const Layout& layout) {
            return layout.ld * size_of(layout.type) % alignment_for(algorithm, layout) == 0;
        });
    }

    size_t workspace_for(const Algorithm& algorithm) const {
        return algorithm.splits > 1 ? static_cast<size_t>(algorithm.splits * m() * n()) * sizeof(float) : 0;
    }
};

// Element (row, col) of a column-major matrix.
float load(const void* data, const Layout& layout, int64_t row, int64_t col) {
    const int64_t at = col * layout.ld + row;
    switch (layout.type) {
        case CUDA_R_16BF:
            return llmc::bf16_to_float(static_cast<const uint16_t*>(data)[at]);
        case CUDA_R_16F:
            return llmc::f16_to_float(static_cast<const uint16_t*>(data)[at]);
        default:
            return static_cast<const float*>(data)[at];
    }
}

void store(void* data, const Layout& layout, int64_t row, int64_t col, float value) {
    const int64_t at = col * layout.ld + row;
    switch (layout.type) {
        case CUDA_R_16BF:
            static_cast<uint16_t*>(data)[at] = llmc::float_to_bf16(value);
            break;
        case CUDA_R_16F:
            static_cast<uint16_t*>(data)[at] = llmc::float_to_f16(value);
            break;
        default:
            static_cast<float*>(data)[at] = value;
    }
}

float rounded_to(cudaDataType_t type, float value) {
    if (type == CUDA_R_16BF) return llmc::bf16_to_float(llmc::float_to_bf16(value));
    if (type == CUDA_R_16F) return llmc::f16_to_float(llmc::float_to_f16(value));
    return value;
}

// op(A) as rows of k floats, or op(B)^T.
std::vector<float> rows_of(const void* data, const Layout& layout, bool rows_are_columns, int64_t rows, int64_t k) {
    std::vector<float> out(static_cast<size_t>(rows * k));
#pragma omp parallel for schedule(static) if (rows * k > kWorthThreads)
    for (int64_t row = 0; row < rows; row++) {
        for (int64_t i = 0; i < k; i++) {
            out[row * k + i] = rows_are_columns ? load(data, layout, i, row) : load(data, layout, row, i);
        }
    }
    return out;
}

void multiply_floats(const Product& p, const Algorithm& algorithm, float alpha, const void* a, const void* b,
                     float beta, const void* c, void* d) {
    const int64_t m = p.m(), n = p.n(), k = p.k();
    const std::vector<float> a_rows = rows_of(a, p.a, p.op.transpose_a == CUBLAS_OP_T, m, k);
    const std::vector<float> b_rows = rows_of(b, p.b, p.op.transpose_b == CUBLAS_OP_N, n, k);
    const int64_t part = llmc::ceil_div(k, algorithm.splits);
    const bool rounds = algorithm.reduction == CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE;
#pragma omp parallel for schedule(static) if (p.m() * p.n() * p.k() > kWorthThreads)
    for (int64_t col = 0; col < n; col++) {
        for (int64_t row = 0; row < m; row++) {
            const float* x = a_rows.data() + row * k;
            const float* y = b_rows.data() + col * k;
            float total = 0;
            for (int64_t begin = 0; begin < k; begin += part) {
                const int64_t end = std::min(begin + part, k);
                float sum = 0;
#pragma omp simd reduction(+ : sum)
                for (int64_t i = begin; i < end; i++) sum += x[i] * y[i];
                total += rounds ? rounded_to(p.d.type, sum) : sum;
            }
            store(d, p.d, row, col, alpha * total + (beta == 0 ? 0.0f : beta * load(c, p.c, row, col)));
        }
    }
}

void multiply_int8(const Product& p, int32_t alpha, const void* a, const void* b, int32_t beta, const void* c,
                   void* d) {
    const int64_t m = p.m(), n = p.n(), k = p.k();
#pragma omp parallel for schedule(static) if (p.m() * p.n() * p.k() > kWorthThreads)
    for (int64_t col = 0; col < n; col++) {
        for (int64_t row = 0; row < m; row++) {
            const int8_t* x = static_cast<const int8_t*>(a) + row * p.a.ld;
            const int8_t* y = static_cast<const int8_t*>(b) + col * p.b.ld;
            int32_t sum = 0;
#pragma omp simd reduction(+ : sum)
            for (int64_t i = 0; i < k; i++) sum += x[i] * y[i];
            const int32_t old = beta == 0 ? 0 : static_cast<const int32_t*>(c)[col * p.c.ld + row];
            static_cast<int32_t*>(d)[col * p.d.ld + row] = alpha * sum + beta * old;
        }
    }
}

}  // namespace
}  // namespace emu

using namespace emu;

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
    if (fails_now()) return blas().failure;
    *handle = new cublasLtContext;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
    delete handle;
    return CUBLAS_STATUS_SUCCESS;
}

size_t cublasLtGetVersion() {
    return blas().version;
}

const char* cublasLtGetStatusString(cublasStatus_t status) {
    switch (status) {
        case CUBLAS_STATUS_SUCCESS:
            return "the operation completed successfully";
        case CUBLAS_STATUS_NOT_INITIALIZED:
            return "the library was not initialized";
        case CUBLAS_STATUS_ALLOC_FAILED:
            return "the resource allocation failed";
        case CUBLAS_STATUS_INVALID_VALUE:
            return "an invalid value was used as an argument";
        case CUBLAS_STATUS_ARCH_MISMATCH:
            return "an absent device architectural feature is required";
        case CUBLAS_STATUS_EXECUTION_FAILED:
            return "the GPU program failed to execute";
        case CUBLAS_STATUS_INTERNAL_ERROR:
            return "an internal operation failed";
        case CUBLAS_STATUS_NOT_SUPPORTED:
            return "the functionality is not supported";
    }
    return "unknown status";
}

cublasStatus_t cublasLtMatrixLayoutInit_internal(cublasLtMatrixLayout_t layout, size_t size, cudaDataType type,
                                                 uint64_t rows, uint64_t cols, int64_t ld) {
    if (fails_now()) return blas().failure;
    if (size != sizeof *layout) return CUBLAS_STATUS_ALLOC_FAILED;
    emu::close(layout, Layout{type, static_cast<int64_t>(rows), static_cast<int64_t>(cols), ld});
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescInit_internal(cublasLtMatmulDesc_t desc, size_t size, cublasComputeType_t compute,
                                               cudaDataType_t scale) {
    if (fails_now()) return blas().failure;
    if (size != sizeof *desc) return CUBLAS_STATUS_ALLOC_FAILED;
    emu::close(desc, Operation{compute, scale, CUBLAS_OP_N, CUBLAS_OP_N, CUBLASLT_EPILOGUE_DEFAULT});
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t attribute,
                                              const void* value, size_t size) {
    if (fails_now()) return blas().failure;
    Operation op = emu::open<Operation>(desc);
    cublasStatus_t status = CUBLAS_STATUS_INVALID_VALUE;
    if (attribute == CUBLASLT_MATMUL_DESC_TRANSA) status = set(op.transpose_a, value, size);
    if (attribute == CUBLASLT_MATMUL_DESC_TRANSB) status = set(op.transpose_b, value, size);
    if (attribute == CUBLASLT_MATMUL_DESC_EPILOGUE) status = set(op.epilogue, value, size);
    emu::close(desc, op);
    return status;
}

cublasStatus_t cublasLtMatmulPreferenceInit_internal(cublasLtMatmulPreference_t preference, size_t size) {
    if (fails_now()) return blas().failure;
    if (size != sizeof *preference) return CUBLAS_STATUS_ALLOC_FAILED;
    emu::close(preference, Preference{0, CUBLASLT_REDUCTION_SCHEME_MASK, {256, 256, 256, 256}});
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute, const void* value,
                                                    size_t size) {
    if (fails_now()) return blas().failure;
    Preference wanted = emu::open<Preference>(preference);
    cublasStatus_t status = CUBLAS_STATUS_INVALID_VALUE;
    if (attribute == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES) status = set(wanted.workspace, value, size);
    if (attribute == CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK) status = set(wanted.reductions, value, size);
    if (attribute >= CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES &&
        attribute <= CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES) {
        status = set(wanted.alignment[attribute - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES], value, size);
    }
    emu::close(preference, wanted);
    return status;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int requested,
                                              cublasLtMatmulHeuristicResult_t results[], int* returned) {
    if (fails_now()) return blas().failure;
    blas().heuristics++;
    *returned = 0;
    if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
    if (requested <= 0) return CUBLAS_STATUS_INVALID_VALUE;
    const Product product(desc, a, b, c, d);
    if (const cublasStatus_t status = product.check(); status != CUBLAS_STATUS_SUCCESS) return status;
    const Preference wanted = emu::open<Preference>(preference);
    for (uint64_t index = 0; index < Blas::kAlgorithms && *returned < requested; index++) {
        const Algorithm& algorithm = kAlgorithms[index];
        bool fits = product.columns_aligned_for(algorithm) && product.workspace_for(algorithm) <= wanted.workspace &&
                    (algorithm.reduction & ~wanted.reductions) == 0;
        for (size_t operand = 0; operand < 4; operand++) {
            const int64_t needed = product.alignment_for(algorithm, product.layouts()[operand]);
            fits = fits && wanted.alignment[operand] >= needed;
        }
        if (!fits) continue;
        cublasLtMatmulHeuristicResult_t& result = results[(*returned)++];
        result = {};
        emu::close(&result.algo, Choice{kMagic, product.kind(), index});
        result.workspaceSize = product.workspace_for(algorithm);
        result.state = CUBLAS_STATUS_SUCCESS;
    }
    return *returned > 0 ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}

cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t a,
                                       cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                       const cublasLtMatmulAlgo_t* algo, cublasLtMatmulHeuristicResult_t* result) {
    if (fails_now()) return blas().failure;
    if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
    if (algo == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
    const Product product(desc, a, b, c, d);
    if (const cublasStatus_t status = product.check(); status != CUBLAS_STATUS_SUCCESS) return status;
    const Choice choice = emu::open<Choice>(algo);
    if (choice.magic != kMagic || choice.kind != product.kind() || choice.index >= Blas::kAlgorithms) {
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    const Algorithm& algorithm = kAlgorithms[choice.index];
    if (!product.columns_aligned_for(algorithm)) return CUBLAS_STATUS_NOT_SUPPORTED;
    result->workspaceSize = product.workspace_for(algorithm);
    result->state = CUBLAS_STATUS_SUCCESS;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, const void* alpha, const void* a,
                              cublasLtMatrixLayout_t a_layout, const void* b, cublasLtMatrixLayout_t b_layout,
                              const void* beta, const void* c, cublasLtMatrixLayout_t c_layout, void* d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t* algo, void* workspace,
                              size_t workspace_size, cudaStream_t /*stream*/) {
    if (fails_now()) return blas().failure;
    cublasLtMatmulHeuristicResult_t needs;
    const cublasStatus_t status =
        cublasLtMatmulAlgoCheck(handle, desc, a_layout, b_layout, c_layout, d_layout, algo, &needs);
    if (status != CUBLAS_STATUS_SUCCESS) return status;
    const Product product(desc, a_layout, b_layout, c_layout, d_layout);
    const uint64_t index = emu::open<Choice>(algo).index;
    const Algorithm& algorithm = kAlgorithms[index];

    const std::array<const void*, 4> operands = {a, b, c, d};
    for (size_t i = 0; i < 4; i++) {
        const Layout layout = product.layouts()[i];
        const size_t bytes = static_cast<size_t>(((layout.cols - 1) * layout.ld + layout.rows) * size_of(layout.type));
        if (!emu::device_accessible(operands[i], bytes)) {
            throw emu::Error(llmc::concat("cublasLtMatmul was given as matrix ", "ABCD"[i], " of ", layout.rows, " x ",
                                          layout.cols, " (leading dimension ", layout.ld, ") ", bytes,
                                          " bytes that are not all device memory of one allocation"));
        }
        if (reinterpret_cast<uintptr_t>(operands[i]) % product.alignment_for(algorithm, layout) != 0) {
            return CUBLAS_STATUS_NOT_SUPPORTED;
        }
    }
    if (workspace_size < needs.workspaceSize || reinterpret_cast<uintptr_t>(workspace) % 256 != 0) {
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    if (needs.workspaceSize > 0) std::memset(workspace, 0xff, needs.workspaceSize);

    if (product.op.compute == CUBLAS_COMPUTE_32I) {
        multiply_int8(product, *static_cast<const int32_t*>(alpha), a, b, *static_cast<const int32_t*>(beta), c, d);
    } else {
        multiply_floats(product, algorithm, *static_cast<const float*>(alpha), a, b, *static_cast<const float*>(beta),
                        c, d);
    }
    blas().runs[index]++;
    if (blas().fastest >= 0 && static_cast<int>(index) != blas().fastest) {
        std::this_thread::sleep_for(std::chrono::milliseconds(3));
    }
    return CUBLAS_STATUS_SUCCESS;
}
