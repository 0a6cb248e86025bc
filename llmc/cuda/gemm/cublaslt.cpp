#include "llmc/cuda/gemm/cublaslt.cuh"

#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cctype>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>
#include <utility>

#include "llmc/core/error.h"
#include "llmc/core/program.h"
#include "llmc/cuda/runtime/check.cuh"
#include "llmc/cuda/runtime/stopwatch.cuh"
#include "llmc/system/loaded_library.h"

namespace cuda {

using namespace llmc;

namespace {

constexpr int kCandidates = 8;       // of the library's ranking, to be timed
constexpr int kTimedRuns = 4;        // of each; the shortest counts
constexpr size_t kMostPlans = 4096;  // kept, some 700 bytes each; the number of tokens takes thousands of values

constexpr const char* kWithout = "install the CUDA toolkit's cuBLAS";

// The ..._internal ones are what the library's header makes its Init functions of.
struct Functions {
#define CUBLASLT_FUNCTION(name) LLMC_FUNCTION("libcublasLt.so." LLMC_TEXT(CUBLAS_VER_MAJOR), name, kWithout)
    CUBLASLT_FUNCTION(cublasLtCreate);
    CUBLASLT_FUNCTION(cublasLtDestroy);
    CUBLASLT_FUNCTION(cublasLtGetStatusString);
    CUBLASLT_FUNCTION(cublasLtGetVersion);
    CUBLASLT_FUNCTION(cublasLtMatmul);
    CUBLASLT_FUNCTION(cublasLtMatmulAlgoCheck);
    CUBLASLT_FUNCTION(cublasLtMatmulAlgoGetHeuristic);
    CUBLASLT_FUNCTION(cublasLtMatmulDescInit_internal);
    CUBLASLT_FUNCTION(cublasLtMatmulDescSetAttribute);
    CUBLASLT_FUNCTION(cublasLtMatmulPreferenceInit_internal);
    CUBLASLT_FUNCTION(cublasLtMatmulPreferenceSetAttribute);
    CUBLASLT_FUNCTION(cublasLtMatrixLayoutInit_internal);
#undef CUBLASLT_FUNCTION
};

// Loaded at the first call.
const Functions& library() {
    static const Functions functions;
    return functions;
}

const char* name_of(cudaDataType_t type) {
    switch (type) {
        case CUDA_R_8I:
            return "int8";
        case CUDA_R_32I:
            return "int32";
        case CUDA_R_16BF:
            return "bf16";
        case CUDA_R_16F:
            return "fp16";
        default:
            return "fp32";
    }
}

int64_t size_of(cudaDataType_t type) {
    return type == CUDA_R_8I ? 1 : type == CUDA_R_16F || type == CUDA_R_16BF ? 2 : 4;
}

std::string types_of(const Product& product) {
    return concat(name_of(product.in), "->", name_of(product.out), ",", product.transpose_a ? "T" : "N",
                  product.transpose_b ? "T" : "N");
}

// For error messages.
std::string describe(const Product& product) {
    return concat("the product D[", product.m, ",", product.n, "] over k = ", product.k, " (", types_of(product),
                  ", leading dimensions ", product.lda, ", ", product.ldb, ", ", product.ldd, ", aligned to ",
                  product.alignment_a, ", ", product.alignment_b, ", ", product.alignment_d, " bytes)");
}

std::string kind_of(const Product& product) {
    return concat(types_of(product), ",", size_class(product.m), "x", size_class(product.n), "x", size_class(product.k),
                  ",", product.alignment_a, "/", product.alignment_b, "/", product.alignment_d);
}

void check(cublasStatus_t status, const Product& product) {
    require(status == CUBLAS_STATUS_SUCCESS, "cuBLASLt failed on ", describe(product), ": ",
            library().cublasLtGetStatusString(status));
}

// "NVIDIA A100-SXM4-80GB" becomes part of a file name.
std::string gpu_name() {
    int device = 0;
    CUDA_CHECK(cudaGetDevice(&device));
    cudaDeviceProp properties;
    CUDA_CHECK(cudaGetDeviceProperties(&properties, device));
    std::string name = properties.name;
    for (char& c : name) {
        if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
    }
    return name;
}

// Device memory, freed at the end of the scope. Null if there is none.
class Scratch {
  public:
    explicit Scratch(int64_t bytes) {
        // Any operand: 0x3c3c is 0.011 in bf16, 1.06 in fp16; 0x3c is 60 in int8.
        if (cudaMalloc(&data_, static_cast<size_t>(bytes)) != cudaSuccess) {
            cudaGetLastError();
            data_ = nullptr;
        } else {
            CUDA_CHECK(cudaMemset(data_, 0x3c, static_cast<size_t>(bytes)));
        }
    }
    ~Scratch() { cudaFree(data_); }
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    void* get() const { return data_; }

  private:
    void* data_ = nullptr;
};

}  // namespace

void load_cublaslt() {
    library();
}

int alignment_of(const void* address, int64_t column_bytes) {
    const uint64_t bits = reinterpret_cast<uintptr_t>(address) | static_cast<uint64_t>(column_bytes) | 256;
    return 1 << std::countr_zero(bits);
}

int64_t size_class(int64_t value) {
    const int dropped = std::bit_width(static_cast<uint64_t>(value)) - 3;
    return dropped <= 0 ? value : (((value - 1) >> dropped) + 1) << dropped;
}

BlasLt::BlasLt(void* workspace, int64_t workspace_bytes, const std::filesystem::path& choices_directory)
    : workspace_(workspace), workspace_bytes_(workspace_bytes) {
    require(reinterpret_cast<uintptr_t>(workspace) % 256 == 0,
            "the workspace of cuBLASLt has to lie at a multiple of 256 bytes");
    if (!choices_directory.empty()) {
        choices_file_ =
            choices_directory / concat("cublaslt-", gpu_name(), "-", library().cublasLtGetVersion(), ".txt");
        std::error_code no_directory;
        std::filesystem::create_directories(choices_directory, no_directory);
        read_choices();
    }
    const cublasStatus_t status = library().cublasLtCreate(&handle_);
    require(status == CUBLAS_STATUS_SUCCESS, "cuBLASLt cannot be started: ", library().cublasLtGetStatusString(status),
            "; is the driver as new as the CUDA version of this program?");
}

BlasLt::~BlasLt() {
    library().cublasLtDestroy(handle_);
}

void BlasLt::multiply(cudaStream_t stream, const Product& product, float alpha, const void* a, const void* b,
                      float beta, void* d) {
    Plan& planned = plan(product);
    check(run(stream, planned, planned.algorithm, alpha, a, b, beta, d), product);
}

cublasStatus_t BlasLt::run(cudaStream_t stream, Plan& plan, const cublasLtMatmulAlgo_t& algorithm, float alpha,
                           const void* a, const void* b, float beta, void* d) {
    const int32_t int_alpha = static_cast<int32_t>(alpha), int_beta = static_cast<int32_t>(beta);
    const void* alpha_address = plan.integers ? static_cast<const void*>(&int_alpha) : &alpha;
    const void* beta_address = plan.integers ? static_cast<const void*>(&int_beta) : &beta;
    return library().cublasLtMatmul(handle_, &plan.operation, alpha_address, a, &plan.a, b, &plan.b, beta_address, d,
                                    &plan.d, d, &plan.d, &algorithm, workspace_, static_cast<size_t>(workspace_bytes_),
                                    stream);
}

BlasLt::Plan& BlasLt::plan(const Product& product) {
    if (const auto known = plans_.find(product); known != plans_.end()) return known->second;

    Plan plan;
    plan.integers = product.in == CUDA_R_8I;
    const int32_t transpose_a = product.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N;
    const int32_t transpose_b = product.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N;
    check(library().cublasLtMatmulDescInit_internal(&plan.operation, sizeof(plan.operation),
                                                    plan.integers ? CUBLAS_COMPUTE_32I : CUBLAS_COMPUTE_32F,
                                                    plan.integers ? CUDA_R_32I : CUDA_R_32F),
          product);
    check(library().cublasLtMatmulDescSetAttribute(&plan.operation, CUBLASLT_MATMUL_DESC_TRANSA, &transpose_a,
                                                   sizeof(transpose_a)),
          product);
    check(library().cublasLtMatmulDescSetAttribute(&plan.operation, CUBLASLT_MATMUL_DESC_TRANSB, &transpose_b,
                                                   sizeof(transpose_b)),
          product);
    const auto layout = [&](cublasLtMatrixLayoutOpaque_t& out, cudaDataType_t type, bool transposed, int64_t rows,
                            int64_t cols, int64_t ld) {
        if (transposed) std::swap(rows, cols);
        check(library().cublasLtMatrixLayoutInit_internal(&out, sizeof(out), type, static_cast<uint64_t>(rows),
                                                          static_cast<uint64_t>(cols), ld),
              product);
    };
    layout(plan.a, product.in, product.transpose_a, product.m, product.k, product.lda);
    layout(plan.b, product.in, product.transpose_b, product.k, product.n, product.ldb);
    layout(plan.d, product.out, false, product.m, product.n, product.ldd);
    plan.algorithm = choose(plan, product);

    if (plans_.size() == kMostPlans) plans_.clear();
    return plans_.emplace(product, plan).first->second;
}

cublasLtMatmulAlgo_t BlasLt::choose(Plan& plan, const Product& product) {
    const std::string kind = kind_of(product);
    const bool is_new = !choices_.contains(kind);
    if (!is_new && fits(plan, choices_.at(kind))) return choices_.at(kind);

    const std::vector<cublasLtMatmulAlgo_t> algorithms = candidates(plan, product);
    if (is_new && times()) {
        const std::optional<size_t> fastest = find_fastest(plan, product, algorithms);
        if (fastest) keep_choice(kind, algorithms[*fastest]);
        if (fastest && choices_.contains(kind) && fits(plan, choices_.at(kind))) return choices_.at(kind);
    }
    return algorithms.front();
}

// Whether the library takes an algorithm that was chosen for another product of the same kind, or read from a file.
bool BlasLt::fits(Plan& plan, const cublasLtMatmulAlgo_t& algorithm) {
    cublasLtMatmulHeuristicResult_t result;
    const cublasStatus_t status = library().cublasLtMatmulAlgoCheck(handle_, &plan.operation, &plan.a, &plan.b, &plan.d,
                                                                    &plan.d, &algorithm, &result);
    return status == CUBLAS_STATUS_SUCCESS && result.workspaceSize <= static_cast<size_t>(workspace_bytes_);
}

// As the library ranks them.
std::vector<cublasLtMatmulAlgo_t> BlasLt::candidates(Plan& plan, const Product& product) {
    cublasLtMatmulPreferenceOpaque_t preference;
    check(library().cublasLtMatmulPreferenceInit_internal(&preference, sizeof(preference)), product);
    const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
        check(library().cublasLtMatmulPreferenceSetAttribute(&preference, attribute, &value, sizeof(value)), product);
    };
    prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<uint64_t>(workspace_bytes_));
    prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, uint32_t{CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE});
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, static_cast<uint32_t>(product.alignment_a));
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, static_cast<uint32_t>(product.alignment_b));
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, static_cast<uint32_t>(product.alignment_d));
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, static_cast<uint32_t>(product.alignment_d));

    cublasLtMatmulHeuristicResult_t results[kCandidates];
    int count = 0;
    const cublasStatus_t status = library().cublasLtMatmulAlgoGetHeuristic(
        handle_, &plan.operation, &plan.a, &plan.b, &plan.d, &plan.d, &preference, kCandidates, results, &count);
    std::vector<cublasLtMatmulAlgo_t> algorithms;
    for (int i = 0; i < count; i++) {
        if (results[i].state == CUBLAS_STATUS_SUCCESS) algorithms.push_back(results[i].algo);
    }
    require(!algorithms.empty(), "cuBLASLt has no algorithm for ", describe(product), ": ",
            library().cublasLtGetStatusString(status),
            "; int8 needs a GPU of compute capability 7.5, bf16 one of 8.0 (on older ones, ", program().use_fp16, ")");
    return algorithms;
}

// The index of the fastest algorithm; nothing if there is no memory to try them in.
std::optional<size_t> BlasLt::find_fastest(Plan& plan, const Product& product,
                                           const std::vector<cublasLtMatmulAlgo_t>& algorithms) {
    CUDA_CHECK(cudaDeviceSynchronize());  // the workspace may be in use
    const Scratch a(product.lda * (product.transpose_a ? product.m : product.k) * size_of(product.in));
    const Scratch b(product.ldb * (product.transpose_b ? product.k : product.n) * size_of(product.in));
    const Scratch d(product.ldd * product.n * size_of(product.out));
    if (!a.get() || !b.get() || !d.get()) return std::nullopt;

    Stopwatch watch(nullptr);
    std::optional<size_t> fastest;
    float shortest = std::numeric_limits<float>::infinity();
    for (size_t i = 0; i < algorithms.size(); i++) {
        for (int repeat = 0; repeat <= kTimedRuns; repeat++) {
            watch.start();
            if (run(nullptr, plan, algorithms[i], 1, a.get(), b.get(), 0, d.get()) != CUBLAS_STATUS_SUCCESS) break;
            const float milliseconds = watch.stop();
            if (repeat == 0 || milliseconds >= shortest) continue;  // the first run loads the kernel
            shortest = milliseconds;
            fastest = i;
        }
    }
    return fastest;
}

// Each line has a kind of product and the eight words of the algorithm, which the library allows to be stored for the
// same version of itself. Lines that cannot be read, such as a last one cut short, are skipped.
void BlasLt::read_choices() {
    std::ifstream file(choices_file_);
    for (std::string line; std::getline(file, line);) {
        std::istringstream words(line);
        std::string kind;
        cublasLtMatmulAlgo_t algorithm;
        words >> kind >> std::hex;
        for (uint64_t& word : algorithm.data) words >> word;
        if (words) choices_.emplace(kind, algorithm);
    }
}

bool BlasLt::can_keep_choices() const {
    return !choices_file_.empty() && ::access(choices_file_.parent_path().c_str(), W_OK) == 0;
}

// Appends, then rereads the file: if several processes time the same kind at once, all take the first line.
void BlasLt::keep_choice(const std::string& kind, const cublasLtMatmulAlgo_t& algorithm) {
    std::ostringstream line;
    line << kind << std::hex;
    for (const uint64_t word : algorithm.data) line << " " << word;
    line << "\n";
    std::ofstream(choices_file_, std::ios::app) << line.str() << std::flush;
    read_choices();
}

}  // namespace cuda
